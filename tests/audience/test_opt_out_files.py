"""Stop lists in files: import from other tools, export from ours."""

import io
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.audience.opt_out_files import MOMENT, OptOutReading, read_moments, write, write_csv
from sms.audience.table_files import read_stop_list
from sms.errors import SourceError, StopListUnsafe

NOW = datetime(2026, 7, 20, 12, 0, tzinfo=UTC)
JULY = datetime(2026, 7, 1, 8, 30, tzinfo=UTC)


def read(path, moments=None):
    """The opt-outs of a file, and the reading that is over."""
    reading = OptOutReading.of(path, NOW, moments)
    found = [tuple(row.values()) for batch in reading.batches() for row in batch.to_pylist()]
    return found, reading


def written(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def test_a_list_without_times_has_numbers_only(tmp_path):
    found, reading = read(
        written(tmp_path / "crm.csv", "name;MSISDN\nx;06 39 98 00 01\ny;+33639980002\n")
    )

    assert found == [(33639980001, None), (33639980002, None)]
    assert (reading.rows, reading.rejects, reading.strange) == (2, [], 0)


def test_the_providers_format_needs_no_header(tmp_path):
    path = written(tmp_path / "stop.csv", "+33639980001;20260701;1030\n+33639980002;;\n")

    assert read(path, "column 2")[0] == [
        (33639980001, datetime(2026, 6, 30, 22, 0, tzinfo=UTC)),
        (33639980002, None),
    ]


SPELLED = {
    "2026-07-01T08:30:00Z": JULY,
    "2026-07-01 10:30": JULY,
    "2026-07-01T10:30:00.000000": JULY,
    "2026-07-01 10:30:00+02:00": JULY,
    "2026-07-01T08:30:00.1234567Z": JULY + timedelta(microseconds=123456),
    "01/07/2026 10:30:00": JULY,
    "01.07.2026": datetime(2026, 6, 30, 22, tzinfo=UTC),
    "20260701": datetime(2026, 6, 30, 22, tzinfo=UTC),
    " 2026-01-05 ": datetime(2026, 1, 4, 23, tzinfo=UTC),
    "2026-03-29 02:30": datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # an hour that is skipped
    "2025-10-26 02:30": datetime(2025, 10, 26, 0, 30, tzinfo=UTC),  # one that comes twice
}


@pytest.mark.parametrize(("spelled", "moment"), SPELLED.items())
def test_times_without_an_offset_are_paris_time(spelled, moment):
    found, strange = read_moments(pa.array([spelled]), NOW)

    assert found[0].as_py() == moment
    assert strange == 0


@pytest.mark.parametrize("odd", ["2026-02-30", "yesterday", "01/13/2026", "2026-07-20 15:00", "x"])
def test_an_invalid_or_future_time_is_counted_and_dropped(odd):
    found, strange = read_moments(pa.array(["2026-07-01", odd, "", None]), NOW)

    assert found.is_null().to_pylist() == [False, True, True, True]
    assert strange == 1


def test_parquet_times_keep_their_instant(tmp_path):
    for moments, expected in (
        (pa.array([JULY, None], pa.timestamp("ns", tz="Europe/Paris")), JULY),
        (pa.array([datetime(2026, 7, 1, 10, 30)] * 1 + [None], pa.timestamp("s")), JULY),  # noqa: DTZ001
        (pa.array([date(2026, 7, 1), None]), datetime(2026, 6, 30, 22, tzinfo=UTC)),
        (pa.array(["2026-07-01 10:30", None]), JULY),
    ):
        table = pa.table({"msisdn": ["0639980001", "0639980002"], "opted_out_at": moments})
        pq.write_table(table, tmp_path / "crm.parquet")
        assert read(tmp_path / "crm.parquet")[0] == [(33639980001, expected), (33639980002, None)]


def test_unreadable_rows_are_reported_by_line_without_the_number(tmp_path):
    path = written(
        tmp_path / "crm.csv",
        'msisdn;note\n\n06 39 98 00 01;"two\nlines"\n0639 12;\nzero six;\n\n0123456789;\n;\n',
    )

    found, reading = read(path)
    reading.write_rejects(tmp_path / "rejects.csv")

    assert found == [(33639980001, None)]
    assert (tmp_path / "rejects.csv").read_text().splitlines() == [
        "line,reason",
        "5,the number has too few digits",
        "6,this is neither a French number nor an international one with + or 00",
    ]
    assert reading.left_out == {"landline": 1, "missing_msisdn": 1}
    assert reading.rows == 5


def test_an_unreadable_second_telephone_is_rejected(tmp_path):
    path = written(tmp_path / "crm.csv", "msisdn;tel\n+33639980001;06 39 98\n0639980002;\n")

    found, reading = read(path)
    reading.write_rejects(tmp_path / "rejects.csv")

    assert [number for number, _ in found] == [33639980001, 33639980002]
    assert (tmp_path / "rejects.csv").read_text().splitlines() == [
        "line,reason",
        "2,the number has too few digits",
    ]


def test_a_row_with_a_misplaced_number_is_rejected(tmp_path):
    path = written(
        tmp_path / "crm.csv",
        "msisdn;mobile\n+33639980001;\n;0639980002\n12;\n0123456789;0639980003\n;\n",
    )

    found, reading = read(path)
    reading.write_rejects(tmp_path / "rejects.csv")

    assert found == [(33639980001, None)]
    assert (tmp_path / "rejects.csv").read_text().splitlines() == [
        "line,reason",
        "3,there is no number",
        "4,the number has too few digits",
        '5,"this is a landline or a box, which gets no SMS"',
    ]
    assert reading.left_out == {"missing_msisdn": 1}


def test_other_phone_columns_give_opt_outs_too(tmp_path):
    path = written(
        tmp_path / "crm.csv",
        "opted_out_at;msisdn;mobile;siren\n2026-07-01 10:30;0639980001;0639980002;632829320\n"
        ";0639980003;;\n",
    )

    found, reading = read(path)

    assert sorted(found) == [(33639980001, JULY), (33639980002, JULY), (33639980003, None)]
    assert (reading.rows, reading.rejects) == (2, [])
    assert reading.columns == "the columns 'msisdn' and 'mobile'"


def test_parquet_rejects_are_reported_by_row(tmp_path):
    pq.write_table(pa.table({"msisdn": ["0639980001", "12"]}), tmp_path / "crm.parquet")

    _, reading = read(tmp_path / "crm.parquet")
    reading.write_rejects(tmp_path / "rejects.csv")

    assert (tmp_path / "rejects.csv").read_text().splitlines()[1][:2] == "2,"


def test_a_bad_number_in_line_one_is_no_header(tmp_path):
    path = written(tmp_path / "crm.csv", "063998000\n0639980002\n")

    found, reading = read(path)

    assert found == [(33639980002, None)]
    assert [row for row, _ in reading.rejects] == [1]


def test_an_overseas_number_with_33_keeps_its_time(tmp_path):
    path = written(tmp_path / "crm.csv", "msisdn;opted_out_at\n+33692000001;2026-07-01 10:30\n")

    assert (262692000001, JULY) in read(path)[0]


def test_a_file_without_numbers_is_refused_before_memory_fills(tmp_path):
    path = written(tmp_path / "crm.csv", "name\n" + "somebody\n" * 100_001)

    with pytest.raises(SourceError, match="rows of the column 'name' are no numbers"):
        read(path)


def test_a_missing_column_is_reported(tmp_path):
    with pytest.raises(SourceError, match="has no column since, only 'msisdn', 'at'"):
        OptOutReading.of(written(tmp_path / "crm.csv", "msisdn,at\n"), NOW, "since")
    with pytest.raises(SourceError, match="no header: its columns are 'column 1' to 'column 1'"):
        OptOutReading.of(written(tmp_path / "stop.csv", "0639980001\n"), NOW, "since")


LISTED = st.dictionaries(
    st.integers(33_639_980_000, 33_639_989_999) | st.just(33_123_456_789),
    st.integers(0, int(NOW.timestamp()) * 1_000_000),
    max_size=20,
)


@given(listed=LISTED, suffix=st.sampled_from(["csv", "parquet"]))
def test_an_exported_list_is_read_back_unchanged(tmp_path_factory, listed, suffix):
    path = tmp_path_factory.getbasetemp() / f"written.{suffix}"
    numbers = pa.array(sorted(listed), pa.int64())
    moments = pa.array([listed[number] for number in sorted(listed)], pa.int64()).cast(MOMENT)
    batch = pa.record_batch({"msisdn": numbers, "opted_out_at": moments})

    assert write([batch], path) == len(listed)

    found, reading = read(path)
    assert found == list(zip(numbers.to_pylist(), moments.to_pylist(), strict=True))
    assert (reading.strange, reading.rejects) == (0, [])
    mobiles = [number for number in sorted(listed) if number != 33_123_456_789]
    if mobiles or not listed:
        assert read_stop_list(path).numbers.tolist() == mobiles
    else:
        with pytest.raises(StopListUnsafe):  # a list that stops nobody
            read_stop_list(path)


def test_an_export_appears_only_when_complete(tmp_path):
    def torn():
        yield pa.record_batch({"msisdn": [33639980001], "opted_out_at": pa.array([JULY], MOMENT)})
        raise ValueError("torn")

    for suffix in ("csv", "parquet"):
        with pytest.raises(ValueError, match="torn"):
            write(torn(), tmp_path / f"stop.{suffix}")

    assert list(tmp_path.iterdir()) == []


def test_an_empty_csv_export_still_has_its_header():
    out = io.BytesIO()

    assert write_csv([], out) == 0
    assert out.getvalue() == b"msisdn,opted_out_at\n"


def test_an_ambiguous_national_number_opts_out_each_possible_number(tmp_path):
    path = written(
        tmp_path / "crm.csv",
        "msisdn;opted_out_at\n0470 12 34 56;2026-07-01 10:30\n+33639980002;\n01 99 00 12 34;\n",
    )
    alone, abroad = OptOutReading.of(path, NOW), OptOutReading.of(path, NOW, countries=["BE", "FR"])

    assert [row["msisdn"] for batch in alone.batches() for row in batch.to_pylist()] == [
        33639980002
    ]
    found = {row["msisdn"]: row["opted_out_at"] for b in abroad.batches() for row in b.to_pylist()}
    assert found[33639980002] is None
    assert found[32470123456] == JULY
    assert alone.left_out.total() == 2
    assert (abroad.rows, abroad.rejects) == (3, [])
