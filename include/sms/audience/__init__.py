"""Whom a campaign writes to, whom not, and why."""
