"""What comes back from the gateway, stored once."""
