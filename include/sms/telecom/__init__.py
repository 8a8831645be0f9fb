"""Phone numbers and the SMS alphabet; nothing here knows campaigns."""
