"""Lists of other tools: imported whole or not at all, and repeatable."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.said import FIRST, listed

JULY = datetime(2026, 7, 1, tzinfo=UTC)


def test_importing_a_list_again_changes_nothing(office):
    crm = listed((1, JULY), (2, None), (2, None), (3, JULY))

    first = office.ledger.stop_list.import_list(crm, named="crm", file="crm.csv")
    before = office.table("SELECT * FROM sms.opt_out ORDER BY 1")
    office.hand.advance(timedelta(days=1))
    second = office.ledger.stop_list.import_list(crm, named="crm", file="crm.csv")

    assert (first.numbers, first.new) == (3, 3)
    assert (second.numbers, second.new) == (3, 0)
    assert office.table("SELECT * FROM sms.opt_out ORDER BY 1") == before
    assert office.table("SELECT count(*) FROM sms.imported") == [(3,)]
    assert office.ledger.stop_list.require_safe() == 3


def test_the_earliest_opt_out_keeps_its_lists_name(office):
    for name, at in (("shop", JULY), ("crm", JULY - timedelta(days=9)), ("late", None)):
        office.ledger.stop_list.import_list(listed((1, at)), named=name, file=f"{name}.csv")

    assert office.table("SELECT opted_out_at, source, list FROM sms.stop_list") == [
        (JULY - timedelta(days=9), "import", "crm")
    ]
    history = office.ledger.people.history(FIRST + 1)
    assert sorted(each.list for each in history.listed) == ["crm", "late", "shop"]


def test_every_import_leaves_its_event(office):
    office.ledger.stop_list.import_list(listed((1, JULY)), named="crm", file="crm.csv")

    assert office.table("SELECT actor, detail FROM sms.event") == [
        (
            "worker",
            {"opted_out": 1, "source": "import", "list": "crm", "file": "crm.csv", "numbers": 1},
        )
    ]


def test_a_dry_run_reports_the_result_and_changes_nothing(office):
    office.ledger.stop_list.import_list(listed((1, JULY)), named="crm", file="crm.csv")
    before = [
        office.table(f"SELECT * FROM sms.{name}") for name in ("opt_out", "imported", "event")
    ]

    tried = office.ledger.stop_list.import_list(
        listed((1, JULY), (2, JULY)), named="shop", file="shop.csv", trial=True
    )

    assert (tried.numbers, tried.new) == (2, 1)
    assert before == [
        office.table(f"SELECT * FROM sms.{name}") for name in ("opt_out", "imported", "event")
    ]


def test_an_interrupted_list_leaves_no_row(office):
    def torn():
        yield listed((1, JULY)).to_batches()[0]
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        office.ledger.stop_list.import_list(torn(), named="crm", file="crm.csv")

    assert office.ledger.stop_list.size() == 0


# hypothesis wants its bounds naive
EARLIEST, LATEST = (datetime(year, 7, 1, tzinfo=UTC).replace(tzinfo=None) for year in (1990, 2026))
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.none() | st.datetimes(EARLIEST, LATEST, timezones=st.just(UTC)),
    ),
    max_size=30,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_the_streamed_rows_are_the_stop_list(office, rows):
    office.ledger.stop_list.import_list(listed(*rows), named="crm", file="crm.csv")

    found = [
        (row["msisdn"], row["opted_out_at"])
        for batch in office.ledger.stop_list.rows()
        for row in batch.to_pylist()
    ]

    assert found == office.table("SELECT msisdn, opted_out_at FROM sms.opt_out ORDER BY 1")


def test_a_long_list_is_streamed_whole_in_pieces(office):
    count = 150_000
    rows = pa.table(
        {
            "msisdn": np.arange(FIRST, FIRST + count),
            "opted_out_at": pa.array([JULY] * count, pa.timestamp("us", tz="UTC")),
        }
    )
    office.ledger.stop_list.import_list(rows, named="crm", file="crm.csv")

    pieces = list(office.ledger.stop_list.rows())

    assert len(pieces) == 3
    assert pa.Table.from_batches(pieces)["msisdn"].to_pylist() == list(range(FIRST, FIRST + count))


def test_an_empty_stop_list_streams_nothing(office):
    assert list(office.ledger.stop_list.rows()) == []
