"""The life of a submission: its states, and which may follow which."""

from enum import StrEnum


class State(StrEnum):
    """Where a submission stands."""

    PLANNED = "planned"
    PREPARED = "prepared"
    UPLOADING = "uploading"
    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REPORTED = "reported"
    CLOSED = "closed"
    CANCELLED = "cancelled"


NEXT: dict[State, frozenset[State]] = {
    State.PLANNED: frozenset({State.PREPARED, State.CANCELLED}),
    State.PREPARED: frozenset({State.UPLOADING, State.CANCELLED}),
    # To `cancelled` only while no rename is intended: after that the file may have left.
    State.UPLOADING: frozenset({State.SUBMITTED, State.UNKNOWN, State.CANCELLED}),
    State.UNKNOWN: frozenset({State.SUBMITTED, State.CANCELLED}),  # a person decides
    State.SUBMITTED: frozenset({State.ACCEPTED, State.REJECTED}),
    # To `closed` when the provider's month is over and it has never reported.
    State.ACCEPTED: frozenset({State.REPORTED, State.CLOSED}),
    State.REPORTED: frozenset({State.CLOSED}),
    State.REJECTED: frozenset(),
    State.CLOSED: frozenset(),
    State.CANCELLED: frozenset(),
}

UNCLAIMED = frozenset({State.PLANNED, State.PREPARED})  # no try has touched the gateway for it

AHEAD = frozenset({State.PREPARED, State.UPLOADING})  # it must still go to the gateway

# The gateway has it and has not refused it: its messages count as sent. `.reject` means that
# nothing was sent (R28); of `unknown` nobody knows.
SENT = frozenset({State.SUBMITTED, State.ACCEPTED, State.REPORTED, State.CLOSED})

HEARD = SENT - {State.SUBMITTED}  # and has accepted it

# Nothing was sent by it, or its report is here.
NO_REPORT_DUE = frozenset({State.REJECTED, State.CANCELLED, State.REPORTED, State.CLOSED})

# Nothing more is expected of it, at the gateway or from there.
OVER = frozenset({State.REJECTED, State.CANCELLED, State.CLOSED})

# The column that says when a state was reached.
STAMP = {
    State.SUBMITTED: "submitted_at",
    State.ACCEPTED: "verdict_at",
    State.REJECTED: "verdict_at",
    State.REPORTED: "reported_at",
}
