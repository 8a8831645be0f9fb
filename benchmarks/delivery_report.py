"""A delivery report of a million rows into the ledger, and the same file by a bare COPY."""

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import people
from benchmarks.contest import Contest, Mismatch, Place, Side, benchmark, module
from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, PlannedRun
from sms.ledger.states import State
from sms.reports.archive import keep

STEM = "SEND-12345-20261201-1000-spring"
REPORT = STEM.replace("SEND", "ACK") + ".csv"
SEND_AT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
TOLD = (
    "COPY of the same file into a bare table by psycopg, which holds {peak:.0f} MiB (timed inside)"
)
SEED = 20261202
BATCH = 1 << 17  # rows

# One message in a thousand is not reported. In its place the row before comes again, or, once in
# ten thousand, a message that we never sent: what a report from the field has, too.
MISSING, STRANGE = 1_000, 10_000
STATUSES = ("3;delivered", "6;not delivered", "2;sent", "4;refused")
SHARES = (0.93, 0.05, 0.015, 0.005)

# What stands in the two tables after a round, compared by the server.
COMPARED = """
WITH told AS (
    SELECT DISTINCT ON (idremote) idremote, substr(msisdn, 2)::bigint AS msisdn,
        idstatus::smallint AS idstatus, idstatus || ';' || status AS raw_status, ackoperator
    FROM bare ORDER BY idremote, ctid DESC
), kept AS (
    SELECT encode(uuid_send(idremote), 'hex') AS idremote, msisdn, idstatus, raw_status, ackoperator
    FROM sms.receipt JOIN sms.message USING (submission_id, idremote, sent_on)
    UNION ALL
    SELECT idremote, msisdn, idstatus, raw_status, ackoperator FROM sms.stranger
)
SELECT count(*) FROM told FULL JOIN kept
    USING (idremote, msisdn, idstatus, raw_status, ackoperator)
WHERE told IS NULL OR kept IS NULL
"""


@benchmark("ack_1m", rows=1_000_000)
def load(place: Place) -> Contest:
    """What `load_delivery_report` does: read the archived file, match, store, move the state."""
    place.postgres.create_database("ledger")
    url = place.postgres.url("ledger")
    ledger = Ledger.connect(url)
    ledger.upgrade()
    _send(ledger, place.rows)
    with tempfile.TemporaryFile() as file:
        file.writelines(_report(place.rows))
        archived = keep(file, REPORT, SEND_AT, place.folder)
    facts = json.dumps(archived.as_json())
    with place.postgres.connect("ledger") as database:
        database.execute("VACUUM ANALYZE sms.message")
    plain = f"host={place.postgres.socket_folder} user=postgres dbname=ledger"

    def check(said: str) -> None:
        with psycopg.connect(plain) as database:
            [(differing,)] = database.execute(COMPARED).fetchall()
            [(rows,)] = database.execute("SELECT report_rows FROM sms.submission").fetchall()
        if differing or rows != place.rows:
            raise Mismatch(f"{differing} of {rows} rows are not in both tables alike")

    nothing = place.folder / "nothing"
    ours = Side(
        module("reporting", "load", plain, url, place.folder, facts, STEM),
        makes=nothing,
        check=check,
        timed_inside=True,
    )
    copy = Side(
        module("reporting", "copy", plain, url, place.folder, facts, STEM),
        makes=nothing,
        timed_inside=True,
    )
    return Contest(ours, copy, TOLD)


def _send(ledger: Ledger, rows: int) -> None:
    """A file at the gateway, accepted, with as many messages as the report will have rows."""
    run = PlannedRun(
        run_key="send__spring/bench",
        campaign="spring",
        kind="marketing",
        service_id="12345",
        send_at=SEND_AT,
        slot_reason="as asked",
        dry_run=False,
        planned_at=SEND_AT,
        folder="runs/spring",
    )
    ledger.runs.plan(run, STEM)
    ledger.runs.prepare(run.run_key, [Part(STEM, 1, 1, rows, rows, "0" * 64, 99)])
    ledger.submissions.claim(STEM, "try", lease=timedelta(hours=1))
    ledger.submissions.record_upload(
        STEM, "try", messages=_messages(rows), sha256="0" * 64, size_bytes=99
    )
    ledger.submissions.intend_rename(STEM, "try")
    ledger.submissions.move(STEM, to=State.SUBMITTED)
    ledger.submissions.move(STEM, to=State.ACCEPTED)


def _messages(rows: int) -> Iterator[pa.RecordBatch]:
    for first in range(0, rows, BATCH):
        places = np.arange(first, min(rows, first + BATCH))
        yield pa.RecordBatch.from_pydict(
            {
                "idremote": _hexadecimal(places),
                "msisdn": pa.array(people.numbers(places)),
                "segments": pa.array(1 + places % 2, pa.int16()),
                "key": _joined("customer", _texts(places), by="-"),
            }
        )


def _report(rows: int) -> Iterator[bytes]:
    """The provider's bytes about those messages, in the order of the send file."""
    chance = np.random.default_rng(SEED)
    for first in range(0, rows, BATCH):
        places = np.arange(first, min(rows, first + BATCH))
        about = places.copy()
        about[places % MISSING == 1] -= 1
        about[places % STRANGE == 1] += 10 * rows
        status = chance.choice(STATUSES, len(places), p=SHARES)
        text = np.where(
            places % 50 == 0,
            '"Bonjour ; votre commande vous attend jusqu\'à samedi soir au magasin. STOP 36000"',
            "Bonjour, votre commande vous attend jusqu'à samedi soir au magasin. STOP 36000",
        )
        ticket = _hexadecimal(about + 7)
        ticket = pc.replace_substring_regex(ticket, "^(.{8})(.{4})(.{4})(.{4})", r"\1-\2-\3-\4-")
        lines = _joined(
            _hexadecimal(about),
            _joined("+", _texts(people.numbers(about)), by=""),
            "LUMIERE",
            pa.array(text, people.TEXT),
            pa.array(status, people.TEXT),
            ticket,
            by=";",
        )
        yield "".join(f"{line}\r\n" for line in lines.to_pylist()).encode()


def _hexadecimal(places: np.ndarray) -> pa.Array:
    """32 digits for each place, as scattered as a digest's."""
    mixed = places.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    turned = mixed ^ (mixed >> np.uint64(29))
    words = np.column_stack((turned * np.uint64(0xBF58476D1CE4E5B9), mixed)).astype(">u8")
    text = words.tobytes().hex()
    return pa.array([text[at : at + 32] for at in range(0, len(text), 32)], people.TEXT)


def _texts(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(people.TEXT)


def _joined(*parts: pa.Array | str, by: str) -> pa.Array:
    texts = (pa.scalar(part, people.TEXT) if isinstance(part, str) else part for part in parts)
    return pc.binary_join_element_wise(*texts, pa.scalar(by, people.TEXT))
