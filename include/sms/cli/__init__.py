"""The command `sms`: one module a command."""
