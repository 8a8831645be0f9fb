"""A code of the provider's for each outcome (R31)."""

CODES = {"delivered": 3, "refused": 4, "not_delivered": 6, "pending": 2, "unknown": 77}
