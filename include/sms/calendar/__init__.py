"""When something may be sent, and why."""
