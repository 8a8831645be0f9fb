"""Arrow columns as we use them; nothing here knows of SMS."""
