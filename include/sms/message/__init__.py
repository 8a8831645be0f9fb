"""What each recipient reads."""
