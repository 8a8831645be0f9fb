"""The open hours of marketing, and the reasons for closed ones."""
