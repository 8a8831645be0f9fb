"""What a person asks every day: is anything wrong, what goes out next."""
