"""Arrow columns; nothing here knows SMS."""
