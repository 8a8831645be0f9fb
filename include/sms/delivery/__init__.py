"""The delivery of one file to the gateway, at most once."""
