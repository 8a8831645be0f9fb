"""Names of report files."""

STOP = "STOP-12345-20260715-1200-spring1.csv"


SMSMO = "SMSMO-12345-20260715-1200-spring1.csv"
