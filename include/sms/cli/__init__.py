"""The command `sms`; each subcommand, or group of them, has its own module."""
