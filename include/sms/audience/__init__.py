"""A campaign's recipients, its excluded candidates, and the reasons."""
