"""The format of files at the gateway, in both directions: names and bytes."""
