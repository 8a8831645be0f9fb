"""The ledger's tables in SQLAlchemy; a test compares them with the migrations.

Triggers, and the views for analysts, are in `migrations`.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.engine import Dialect

from sms.ledger.states import State

SCHEMA = "sms"
VERSION = "0018"  # the newest of `migrations`, which the schema must have
OUTCOMES = ("delivered", "refused", "not_delivered", "pending", "unknown")
MISSING = "missing"  # no report has a row of the message

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "ix": "%(table_name)s_%(column_0_N_name)s",
    },
)


class Moment(TypeDecorator[datetime]):
    """A timestamp column: refuses naive datetimes, and returns UTC in every session."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("the ledger stores aware datetimes only")
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


campaign_run = Table(
    "campaign_run",
    metadata,
    Column("run_key", Text, primary_key=True),
    Column("campaign", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("service_id", Text, nullable=False),
    Column("send_at", Moment, nullable=False),
    Column("slot_reason", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("planned_at", Moment, nullable=False),
    Column("folder", Text, nullable=False),
    Column("candidates", Integer),
    Column("audience", Integer),  # after screening; rendering and late STOPs reduce it
    Column("screened_out", JSONB),  # {reason: count}
    Column("rendered_out", JSONB),  # {reason: count}
    Column("replaced", JSONB),  # {"U+00E7": count}
    Column("stop_list_size", BigInteger),  # as seen at screening
    Column("asked_at", Moment),
    Column("row_limit", Integer),
    Column("chosen_at", Moment),
    Column("approved_by", Text),
    Column("approved_at", Moment),
    Column("failed_at", Moment),  # when a task failed for good; a later attempt clears it
    Column("failed_task", Text),
    Column("failed_why", Text),
    _one_of("kind", "marketing", "transactional"),
    Index(None, "campaign", "send_at"),
)

submission = Table(
    "submission",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_key", ForeignKey(campaign_run.c.run_key), nullable=False),
    Column("stem", Text, nullable=False),
    Column("service_id", Text, Computed("split_part(stem, '-', 2)", persisted=True)),
    Column("campaign_id", Text, Computed("split_part(stem, '-', 5)", persisted=True)),
    Column("part", SmallInteger, nullable=False),
    Column("parts", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("send_at", Moment, nullable=False),
    Column(  # in Paris
        "sent_on",
        Date,
        Computed("((send_at AT TIME ZONE 'Europe/Paris'::text))::date", persisted=True),
    ),
    Column("zone", Text, nullable=False, server_default="FR"),  # of its recipients
    Column("messages", Integer),
    Column("segments", Integer),
    Column("sha256", Text),
    Column("size_bytes", BigInteger),
    Column("prepared_sha256", Text),  # of the reviewed bytes; `sha256` is of the uploaded ones
    Column("claim", Text),  # the token of the try that holds it
    Column("claimed_at", Moment),
    Column("uploaded_at", Moment),  # when its `.tmp` was whole, and its messages recorded
    Column("rename_intended_at", Moment),
    Column("rename_withdrawn_at", Moment),  # no file left by that intent; the next one clears it
    Column("submitted_at", Moment),
    Column("verdict_at", Moment),
    Column("due_at", Moment),
    Column("reported_at", Moment),
    Column("late_out", JSONB),  # {reason: count}: left out between preparation and rename
    Column("report_rows", Integer),  # readable rows of the delivery report loaded last
    Column("report_duplicates", Integer),  # of those, rows of a message that has a later row
    Column("report_kept", Integer),  # outcomes of an earlier report that this one lacks
    Column("report_loaded_at", Moment),
    Column("dropped_at", Moment),  # when its messages were dropped with their month
    UniqueConstraint("stem"),
    _one_of("state", *State),
    CheckConstraint("part BETWEEN 1 AND parts", name="part"),
    CheckConstraint("state <> 'uploading' OR claim IS NOT NULL", name="claimed"),
    Index(
        "submission_one_live_part",
        "run_key",
        "part",
        unique=True,
        postgresql_where=text("state <> 'cancelled'"),
    ),
    Index("submission_report_name", "service_id", func.lower(text("campaign_id"))),
    Index("submission_state_due_at", "state", "due_at"),
    Index(None, "sent_on"),
)

# `message` and `receipt` have no foreign keys: checking each row would double a load's time. They
# are partitioned by the month of their file's day, so a query with the day reads one month.
message = Table(
    "message",
    metadata,
    Column("submission_id", BigInteger, nullable=False),
    Column("msisdn", BigInteger, nullable=False),
    Column("sent_on", Date, nullable=False),
    Column("segments", SmallInteger, nullable=False),
    Column("country", Text, nullable=False),  # ISO 3166
    Column("idremote", Uuid, nullable=False),  # its 32 digits
    Column("key", Text, nullable=False),
    Column("variant", Text),  # null in a campaign without
    PrimaryKeyConstraint("submission_id", "idremote", "sent_on"),
    Index(None, "msisdn"),
    postgresql_partition_by="RANGE (sent_on)",
)

receipt = Table(
    "receipt",
    metadata,
    Column("submission_id", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("sent_on", Date, nullable=False),
    Column("idstatus", SmallInteger),
    Column("idremote", Uuid, nullable=False),  # the message's
    Column("ackoperator", Text),
    Column("raw_status", Text),  # as the provider wrote it
    # Each month has a unique index of (submission_id, idremote): see the migration.
    postgresql_partition_by="RANGE (sent_on)",
)

# Counted when a file and its report are loaded; kept after the messages are deleted.
outcome_count = Table(
    "outcome_count",
    metadata,
    Column("submission_id", ForeignKey(submission.c.id), nullable=False),
    Column("country", Text, nullable=False),
    Column("variant", Text),
    Column("segments", SmallInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("messages", Integer, nullable=False),
    _one_of("outcome", *OUTCOMES, MISSING),
    CheckConstraint("messages > 0", name="messages"),
    UniqueConstraint(
        *("submission_id", "country", "variant", "segments", "outcome"),
        name="outcome_count_once",
        postgresql_nulls_not_distinct=True,
    ),
)

# Counted when answers are loaded. Country is null for numbers that are not in the file.
answer_count = Table(
    "answer_count",
    metadata,
    Column("submission_id", ForeignKey(submission.c.id), nullable=False),
    Column("country", Text),
    Column("variant", Text),
    Column("segments", SmallInteger),
    Column("stop_rows", Integer, nullable=False),
    Column("reply_rows", Integer, nullable=False),
    Column("people", Integer, nullable=False),  # numbers that opted out, each once
    UniqueConstraint(
        *("submission_id", "country", "variant", "segments"),
        name="answer_count_once",
        postgresql_nulls_not_distinct=True,
    ),
)

# A negative `msisdn`, here and in `imported` and `removal`, is a pseudonym: see `hashed_numbers`.
opt_out = Table(
    "opt_out",
    metadata,
    Column("msisdn", BigInteger, primary_key=True, autoincrement=False),
    Column("opted_out_at", Moment, nullable=False),
    Column("source", Text, nullable=False),
    Column("stem", Text),  # the file whose message was answered
    Column("message", Text),
    Column("recorded_at", Moment, nullable=False),
    Column("list", Text),  # the tool or list that an import came from
    _one_of("source", "stop_report", "reply", "import"),
)

imported = Table(
    "imported",
    metadata,
    Column("msisdn", BigInteger, nullable=False),
    Column("list", Text(collation="C"), nullable=False),
    Column("opted_out_at", Moment),  # null: the list doesn't say
    Column("recorded_at", Moment, nullable=False),
    Index(
        "imported_once",
        "msisdn",
        "list",
        text("coalesce(opted_out_at, '-infinity'::timestamptz)"),
        unique=True,
    ),
)

removal = Table(
    "removal",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("msisdn", BigInteger, nullable=False),
    Column("removed_at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("opted_out_at", Moment, nullable=False),
    Column("source", Text, nullable=False),
    Column("list", Text),
    Column("stem", Text),
    Column("message", Text),
    Column("recorded_at", Moment, nullable=False),
    Column("heard", ARRAY(Text), nullable=False),  # digests of the replies known by then
    CheckConstraint(r"reason ~ '\S'", name="reason"),
    Index(None, "msisdn"),
)

# The fingerprint of the key of all pseudonyms, which never changes.
stop_list_key = Table(
    "stop_list_key",
    metadata,
    Column("fingerprint", LargeBinary, nullable=False),
    Column("used_since", Moment, nullable=False),
    Index("stop_list_key_is_one", text("(true)"), unique=True),
)

reply = Table(
    "reply",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("service_id", Text, nullable=False),
    Column("campaign_id", Text, nullable=False),
    Column("report", Text, nullable=False),  # the file's name
    Column("submission_id", ForeignKey(submission.c.id)),
    Column("msisdn", BigInteger, nullable=False),
    Column("replied_at", Moment),
    Column("raw_date", Text, nullable=False),
    Column("raw_hour", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("message_digest", Text, nullable=False),  # a text may be too long for an index
    Column("idremote", Text),
    Column("occurrence", Integer, nullable=False),  # the n-th identical row of the file
    Column("recorded_at", Moment, nullable=False),
    Column("asks_to_stop", Boolean, nullable=False),
    _one_of("kind", "STOP", "SMSMO"),
    UniqueConstraint(
        "kind",
        "service_id",
        "campaign_id",
        "msisdn",
        "raw_date",
        "raw_hour",
        "message_digest",
        "occurrence",
        name="reply_once",
    ),
    Index(None, "submission_id", "kind"),
    Index(None, "msisdn"),
)

report_file = Table(
    "report_file",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("stem", Text),
    Column("submission_id", ForeignKey(submission.c.id)),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_at", Moment, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("unreadable", Integer, nullable=False),
    Column("archive", Text, nullable=False),
    Column("loaded_at", Moment, nullable=False),
    _one_of("kind", "ACK", "STOP", "SMSMO"),
    Index(None, "submission_id"),
)

# The state of each report at its last download, and since when it is unchanged.
sighting = Table(
    "sighting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_at", Moment, nullable=False),  # by the server's clock
    Column("sha256", Text, nullable=False),
    Column("since", Moment, nullable=False),  # by ours, as is `fetched_at`
    Column("fetched_at", Moment, nullable=False),
)

# The last success of each recurring task, as a proof that it runs.
last_success = Table(
    "last_success",
    metadata,
    Column("task", Text, primary_key=True),
    Column("at", Moment, nullable=False),
)

# Unreadable rows of reports: personal data, like replies.
unreadable_row = Table(
    "unreadable_row",
    metadata,
    Column("report", Text, primary_key=True),  # the file's name
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, Computed("sha256(raw)", persisted=True), primary_key=True),
    Column("raw", LargeBinary, nullable=False),  # the row's bytes
    Column("reason", Text, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("gone_at", Moment),  # when the report no longer had it as unreadable
    Column("may_be_stop", Boolean, nullable=False),  # then nothing is sent until it is seen
    Column("seen_at", Moment),  # when an operator marked it as seen
    Column("seen_by", Text),
    Column("seen_reason", Text),  # the operator's reason
    Index(
        "unreadable_row_unseen",
        "report",
        postgresql_where=text("may_be_stop AND gone_at IS NULL AND seen_at IS NULL"),
    ),
)

stranger = Table(
    "stranger",
    metadata,
    Column("submission_id", ForeignKey(submission.c.id), primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("idremote", Text, nullable=False),
    Column("msisdn", BigInteger),
    Column("idstatus", SmallInteger),
    Column("outcome", Text, Computed("sms.outcome_of(idstatus)", persisted=True)),
    Column("ackoperator", Text),
    Column("raw_status", Text),
)

# The counts of erased rows.
erased = Table(
    "erased",
    metadata,
    Column("submission_id", ForeignKey(submission.c.id), primary_key=True),
    Column("what", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    _one_of(
        "what",
        *("delivered", "refused", "not_delivered", "pending", "unknown", "missing"),
        *("stranger", "late_stop", "STOP", "SMSMO"),
    ),
)

# No foreign keys: events are kept longer than the rows that they refer to.
event = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("submission_id", BigInteger),
    Column("run_key", Text),
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("detail", JSONB),
    Index(None, "submission_id"),
    Index(None, "run_key"),
    Index("event_opted_out", "id", postgresql_where=text("detail ? 'opted_out'")),
)
