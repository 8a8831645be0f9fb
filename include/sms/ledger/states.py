"""The states of a submission, and their transitions."""

from enum import StrEnum


class State(StrEnum):
    """The state of a submission."""

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
    State.UNKNOWN: frozenset({State.SUBMITTED, State.CANCELLED}),  # an operator decides
    State.SUBMITTED: frozenset({State.ACCEPTED, State.REJECTED}),
    # To `closed` if no report came within the month for which the provider keeps reports.
    State.ACCEPTED: frozenset({State.REPORTED, State.CLOSED}),
    State.REPORTED: frozenset({State.CLOSED}),
    State.REJECTED: frozenset(),
    State.CLOSED: frozenset(),
    State.CANCELLED: frozenset(),
}

UNCLAIMED = frozenset({State.PLANNED, State.PREPARED})  # no try has begun its upload

AHEAD = frozenset({State.PREPARED, State.UPLOADING})  # it must still be sent

# The gateway has the file and has not rejected it: its messages count as sent. After `.reject`
# nothing was sent (R28); after `unknown` it is not known.
SENT = frozenset({State.SUBMITTED, State.ACCEPTED, State.REPORTED, State.CLOSED})

ACCEPTED_AND_LATER = SENT - {State.SUBMITTED}  # the gateway has accepted it

# Nothing was sent, or the report is loaded.
NO_REPORT_DUE = frozenset({State.REJECTED, State.CANCELLED, State.REPORTED, State.CLOSED})

# Final states: nothing more is expected from the gateway.
OVER = frozenset({State.REJECTED, State.CANCELLED, State.CLOSED})

# The column with the time at which a state was reached.
STAMP = {
    State.SUBMITTED: "submitted_at",
    State.ACCEPTED: "verdict_at",
    State.REJECTED: "verdict_at",
    State.REPORTED: "reported_at",
}
