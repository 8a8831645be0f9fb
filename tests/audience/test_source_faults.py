"""Faults of a source: counted over all batches, shown with their first rows."""

import pyarrow as pa

from sms.audience.screening import EXCLUDED_SCHEMA, Reason
from sms.audience.source_faults import SourceFault, SourceFaults


def excluded(*rows: tuple[int, Reason, str]) -> pa.RecordBatch:
    people = [
        {"row": row, "key": f"k{row}", "msisdn": "", "reason": str(reason), "detail": detail}
        for row, reason, detail in rows
    ]
    return pa.RecordBatch.from_pylist(people, EXCLUDED_SCHEMA)


def test_faults_are_counted_over_batches_with_three_example_rows():
    faults = SourceFaults()
    gap, key = (Reason.MISSING_VALUE, "store"), (Reason.MISSING_KEY, "")
    faults.add(excluded((4, *gap), (5, *key), (9, *gap)))
    faults.add(excluded((12, Reason.LANDLINE, ""), (13, *key)))
    faults.add(excluded((20, *gap), (21, *gap), (22, Reason.MISSING_VALUE, "name")))

    told = [(fault.code, fault.column, fault.count, fault.rows) for fault in faults.found()]
    assert told == [
        ("missing_value", "store", 4, (4, 9, 20)),
        ("missing_key", "", 2, (5, 13)),
        ("missing_value", "name", 1, (22,)),
    ]


def test_example_rows_of_screening_and_rendering_are_in_order():
    faults = SourceFaults()
    faults.add(excluded((30, Reason.EMPTY_VALUE, "name"), (40, Reason.EMPTY_VALUE, "name")))
    faults.add(excluded((7, Reason.EMPTY_VALUE, "name"), (35, Reason.EMPTY_VALUE, "name")))

    [fault] = faults.found()
    assert (fault.count, fault.rows) == (4, (7, 30, 35))


def test_ordinary_exclusions_are_no_source_faults():
    faults = SourceFaults()
    faults.add(excluded((1, Reason.OPTED_OUT, ""), (2, Reason.LANDLINE, "")))
    faults.add(excluded())

    assert faults.found() == []


def test_texts_that_look_decoded_wrongly_are_reported():
    faults = SourceFaults()
    faults.add_suspects({"mojibake": {"count": 0, "rows": []}})
    assert faults.found() == []

    faults.add_suspects({"mojibake": {"count": 5, "rows": [3, 8, 9]}})

    [fault] = faults.found()
    assert isinstance(fault, SourceFault)
    assert (fault.code, fault.column, fault.count, fault.rows) == ("mojibake", "", 5, (3, 8, 9))
    assert str(fault).endswith("(5 rows, first 3, 8, 9, ...)")
