"""Personal data: retention, access and erasure."""
