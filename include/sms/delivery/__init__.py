"""One file to the gateway, at most once."""
