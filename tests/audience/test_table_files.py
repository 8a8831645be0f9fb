"""Files of recipients and stop lists: read whole, or refused with the line."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from sms.audience.table_files import TableFile, found_in, read_stop_list
from sms.errors import SourceError, StopListUnsafe

ROWS = [{"key": "1", "name": "Zoé; Léa"}, {"key": "2", "name": None}, {"key": "3", "name": ""}]


def rows(path: Path, columns=None):
    return [row for batch in TableFile.open(path).batches(columns) for row in batch.to_pylist()]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_is_read_with_any_delimiter(tmp_path, delimiter, end, mark):
    lines = [["key", "name"], ["1", '"Zoé; Léa"'], ["2", ""], ["3", '""']]
    content = mark + "".join(delimiter.join(line) + end for line in lines)

    file = TableFile.open(written(tmp_path / "people.csv", content))

    assert file.columns == ("key", "name")
    assert rows(file.path) == ROWS


def test_parquet_and_csv_give_the_same_rows_every_time(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "people.parquet")
    file = TableFile.open(tmp_path / "people.parquet")

    assert (file.columns, file.rows) == (("key", "name"), 3)
    for _ in range(2):
        assert [row for batch in file.batches() for row in batch.to_pylist()] == ROWS
    assert rows(file.path, ["name"]) == [{"name": row["name"]} for row in ROWS]


def test_a_line_break_inside_quotes_belongs_to_its_cell(tmp_path):
    path = written(tmp_path / "people.csv", 'key,name\n1,"Zoé\r\nLéa"\n2,Ana\n')

    assert rows(path) == [{"key": "1", "name": "Zoé\r\nLéa"}, {"key": "2", "name": "Ana"}]


def test_a_header_alone_is_an_empty_table(tmp_path):
    assert rows(written(tmp_path / "people.csv", "key,name\n")) == []
    assert rows(written(tmp_path / "people.csv", "key,name")) == []


def test_numbers_keep_their_zeros_and_their_plus(tmp_path):
    path = written(tmp_path / "people.csv", "key,msisdn\n007,0639980001\n8,+33639980002\n")

    assert [row["msisdn"] for row in rows(path)] == ["0639980001", "+33639980002"]
    assert rows(path)[0]["key"] == "007"


BROKEN = {
    "one cell too many": ("key,name\n1,Zoé\n2,secret,more\n", "line 3: the row has 3 cells"),
    "one cell too few": ('key,name\n1,"a\nb"\nsecret\n', "line 4: the row has 1 cell, and"),
    "one cell too few, and not UTF-8": (
        b"key,name\n1,a\nsecret\xe9\n",
        "line 3: the row has 1 cell, and",
    ),
    "not UTF-8": (b"key,name\n1,Zo\xc3\xa9\n2,secret\xe9\n", "line 3, byte 9: this is not UTF-8"),
    "header not UTF-8": (b"key,pr\xe9nom\n1,a\n", "line 1: this is not UTF-8"),
    "nothing": ("", "line 1: a CSV begins with the names"),
    "not Parquet": (b"PAR1 and no more", "begins like Parquet"),
}


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_reported_without_cell_contents(tmp_path, content, sentence):
    path = written(tmp_path / "people", content)

    with pytest.raises(SourceError) as raised:
        rows(path)

    assert str(path) in str(raised.value)
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(SourceError, match=r"nobody\.csv can't be read"):
        TableFile.open(tmp_path / "nobody.csv")


# --- Stop lists ---------------------------------------------------------------------------------

NUMBERS = [33639980001, 33639980002]
STOP_LISTS = {
    "a column of that name": "name;MSISDN\nx;06 39 98 00 02\ny;+33639980001\nz;06 39 98 00 02\n",
    "the first column": "phone\n+33639980001\n0033639980002\n",
    "no header": "+33639980002\n+33639980001\n",
    "the provider's": "+33639980001;20270302;1015;STOP;ab12\n+33639980002;20270302;1016;stop;cd\n",
    "that name in capitals, with spaces": " MSISDN ;since\n+33639980001;x\n+33639980002;y\n",
    "the only column with mobiles": (
        "contact_id;phone\n100000123;+33639980001\n100000124;06 39 98 00 02\n"
    ),
    "a column of mobiles behind an empty one": ";portable\n;+33639980001\n;+33639980002\n",
    "no header, and a name first": "Anne;+33639980001\nBo;+33639980002\n",
    "mobiles late": "id;phone\n" + "7;0123456789\n" * 9 + "8;+33639980001\n9;+33639980002\n",
    "numbers that are never written to": "msisdn\n0123456789\n+33639980001\n\n0639980002\nn/a\n",
}


@pytest.mark.parametrize("content", STOP_LISTS.values(), ids=STOP_LISTS.keys())
def test_a_stop_list_is_read_in_every_format(tmp_path, content):
    assert read_stop_list(written(tmp_path / "stop.csv", content)).numbers.tolist() == NUMBERS


def test_a_parquet_stop_list_holds_text_or_integers(tmp_path):
    for column in (pa.array(["+33639980002", "0639980001"]), pa.array([639980002, 33639980001])):
        pq.write_table(pa.table({"msisdn": column}), tmp_path / "stop.parquet")
        assert read_stop_list(tmp_path / "stop.parquet").numbers.tolist() == NUMBERS


UNCLEAR = {
    "an id that reads like a mobile": (
        "siren;portable\n732829320;+33639980001\n",
        "the columns 'siren' and 'portable' both hold numbers: name the right one msisdn, in a",
    ),
    "two telephones": ("home,work\n0639980001,+33639980002\n", "'home' and 'work' both hold"),
    "one line of numbers": (
        "+33639980001,+33639980002,+33639980003\n",
        "'column 1', 'column 2' and 'column 3' all hold numbers",
    ),
    "none": (
        "id;since\n17;2026-03-01\n",
        "none of the columns 'id', 'since' holds mobile numbers: name the right one msisdn, in a",
    ),
    "no row": ("id;phone\n", "has no rows"),
    "no row, and one name that may be anything": ("phone\n", "has no rows"),
    "one line that is read as another encoding": (b"\xff\xfephone\n06399800010\n", "has no rows"),
    "msisdn twice": ("msisdn;Msisdn \n;+33639980002\n", "2 columns 'msisdn'"),
    "one name twice": ("phone;phone\n+33639980001;+33639980002\n", "columns of one name"),
}


@pytest.mark.parametrize(("content", "says"), UNCLEAR.values(), ids=UNCLEAR.keys())
def test_a_list_with_an_ambiguous_number_column_is_refused(tmp_path, content, says):
    with pytest.raises(SourceError, match=says) as refused:
        read_stop_list(written(tmp_path / "stop.csv", content))

    assert "639980" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_second_mobile_column_is_always_found(tmp_path, suffix):
    rows = 300_000
    table = pa.table(
        {
            "home": [f"06399{place % 100:02}{place % 999:03}" for place in range(rows)],
            "work": [None] * (rows - 1) + ["+33639980002"],
        }
    )
    path = tmp_path / f"stop.{suffix}"
    (pq.write_table if suffix == "parquet" else pa.csv.write_csv)(table, path)

    with pytest.raises(SourceError, match="'home' and 'work' both hold"):
        read_stop_list(path)


@pytest.mark.parametrize("content", ["msisdn\n0123456789\n", "phone\nn/a\n", "msisdn\n\n-\n"])
def test_a_stop_list_without_usable_rows_is_refused(tmp_path, content):
    with pytest.raises(StopListUnsafe, match="and no number in the column"):
        read_stop_list(written(tmp_path / "stop.csv", content))


ELSEWHERE = {
    "an empty cell": ("msisdn,mobile\n+33639980001,\n,0639980002\n", "line 3: .*'mobile' does"),
    "a landline": (
        "msisdn;gsm;x\n+33639980001;;\n0139980001;;\n0139980001;0639980002;\n",
        "line 4",
    ),
    "a word for none, behind columns of one name": (
        "a,msisdn,,\nx,+33639980001,,\ny,n/a,,+33639980002\n",
        "line 3",
    ),
    "an overseas one": ("msisdn,mobile\n+33639980001,\n,+33692000001\n", "line 3"),
    "two of them": ("msisdn;mobile\n+33639980001;\n;0639980002 / 0639980003\n", "line 3"),
    "a float": ("msisdn;mobile\n+33639980001;\n;639980002.0\n", "line 3"),
}


@pytest.mark.parametrize(("content", "says"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_number_in_another_column_is_refused(tmp_path, content, says):
    with pytest.raises(StopListUnsafe, match=says) as refused:
        read_stop_list(written(tmp_path / "stop.csv", content))

    assert "39980002" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_number_in_another_column_is_always_found(tmp_path, suffix):
    rows = 300_000
    numbers = [f"06399{place % 100:02}{place % 999:03}" for place in range(rows - 1)]
    table = pa.table({"msisdn": [*numbers, None], "work": [None] * (rows - 1) + ["+33639980002"]})
    path = tmp_path / f"stop.{suffix}"
    (pq.write_table if suffix == "parquet" else pa.csv.write_csv)(table, path)

    with pytest.raises(StopListUnsafe, match=f"{rows + (suffix == 'csv')}: .*'work' does"):
        read_stop_list(path)


MORE_TELEPHONES = {
    "a second telephone": ("msisdn;phone2\n0639980001;0639980002\n", ["phone2"]),
    "without its zero": ("msisdn;Téléphone 2\n0639980001;639980002\n", ["Téléphone 2"]),
    "a column of another name": ("msisdn,autre\n0639980001,+33 6 39 98 00 02\n", ["autre"]),
    "national, in pairs": ("msisdn,autre\n0639980001,06.39.98.00.02\n", ["autre"]),
    "an overseas one": ("msisdn,mobile\n0639980001,0692000001\n", ["mobile"]),
    "three": ("gsm,msisdn,gsm 2\n0639980002,0639980001,0639980003\n", ["gsm", "gsm 2"]),
    "made a float by a gap": ("msisdn;tel\n0639980001;639980002.0\n", ["tel"]),
    "two in a cell": ("msisdn;tel\n0639980001;0639980002 / 0639980003\n", ["tel"]),
    "two in a cell, by a word": (
        "msisdn;mobile\n0639980001;+33 639980002 ou +33 639980003\n",
        ["mobile"],
    ),
    "two in a cell of another name": (
        "msisdn;autres\n0639980001;0639980002, 0639980003\n",
        ["autres"],
    ),
    "two lines in a cell": ('msisdn;tel\n0639980001;"0639980002\n0639980003"\n', ["tel"]),
    "behind columns of one name": ("a,msisdn,a,tel\n1,0639980001,2,0639980002\n", ["tel"]),
    "in a row further down": ("msisdn,tel\n0639980001,\n0639980003,0639980002\n", ["tel"]),
    "none: two landlines": ("msisdn;tel\n0639980001;0123456789 / 0123456788\n", []),
    "none: two hours": ("msisdn;at\n0639980001;06/01/26 12:30, 06/02/26 12:30\n", []),
    "none: a company's id": ("msisdn;siren\n0639980001;732829320\n", []),
    "none: an id of eleven digits": ("msisdn;id\n0639980001;73282932011\n", []),
    "none: a day and an hour": ("msisdn;at\n0639980001;06/01/26 12:30\n", []),
    "none: a hotel's id": ("msisdn;hotel\n0639980001;632829320\n", []),
    "none: a landline": ("msisdn;telephone\n0639980001;0123456789\n", []),
    "none: a text": ("msisdn;note\n0639980001;call 0639980002\n", []),
    "the same one again": ("msisdn;tel\n0639980001;+33639980001\n", ["tel"]),
}


@pytest.mark.parametrize(("content", "others"), MORE_TELEPHONES.values(), ids=MORE_TELEPHONES)
def test_other_phone_columns_of_a_row_are_stopped_too(tmp_path, content, others):
    paths = [written(tmp_path / "stop.csv", content)]
    file = TableFile.open(paths[0])
    if len({*file.columns}) == len(file.columns):
        paths.append(tmp_path / "stop.parquet")
        pq.write_table(pa.Table.from_batches(file.batches()), paths[1])

    spelled = content.split("\n", 1)[1].replace(" ", "").replace(".", "")
    expected = {33639980001}
    if others:
        found = (33639980002, 33639980003, 262692000001)
        expected |= {each for each in found if str(each)[-9:] in spelled}
    for listed in map(read_stop_list, paths):
        assert listed.numbers.tolist() == sorted(expected)
        assert listed.others == tuple(others)
        assert ("columns" in str(listed)) == bool(others)


OF_OTHER_TYPES = {
    "floats": pa.array([639980002.0, None]),
    "floats with a code": pa.array([33639980002.0, float("nan")]),
    "decimals": pa.array([Decimal(639980002), None], pa.decimal128(38, 0)),
    "lists": pa.array([["0639980002"], None]),
    "lists of integers": pa.array([[639980002, 639980003], []]),
    "bytes": pa.array([b"0639980002", b"\xff"]),
    "encoded lists": pa.array([["0639980004", "0639980002"], None]),
}


@pytest.mark.parametrize("column", OF_OTHER_TYPES.values(), ids=OF_OTHER_TYPES)
def test_other_phone_columns_may_have_any_type(tmp_path, column):
    path = tmp_path / "stop.parquet"
    pq.write_table(pa.table({"msisdn": ["0639980001", "0639980005"], "phone2": column}), path)

    listed = read_stop_list(path)

    assert 33639980002 in listed.numbers.tolist()
    assert listed.others == ("phone2",)


@pytest.mark.parametrize("column", OF_OTHER_TYPES.values(), ids=OF_OTHER_TYPES)
def test_a_number_in_such_a_column_alone_is_refused(tmp_path, column):
    path = tmp_path / "stop.parquet"
    pq.write_table(pa.table({"msisdn": [None, "0639980005"], "phone2": column}), path)

    with pytest.raises(StopListUnsafe, match=r"row 1: .*'phone2' does"):
        read_stop_list(path)


def test_other_columns_of_a_stop_list_need_no_encoding(tmp_path):
    path = tmp_path / "stop.csv"
    rows = ["0639980001;Zoé;été", "0639980003;Léa;+33639980002"]
    content = "msisdn;nom;tel\n" + "".join(f"{row}\n" for row in rows)
    path.write_bytes(content.encode("cp1252"))

    assert read_stop_list(path).numbers.tolist() == [33639980001, 33639980002, 33639980003]


def test_a_stop_list_counts_its_rows_without_effect(tmp_path):
    content = "email;msisdn\na@x.fr;+33639980001\nb@x.fr;\nc@x.fr;0123456789\n"

    listed = read_stop_list(written(tmp_path / "stop.csv", content))

    assert str(listed) == (
        "Stop list: 1 number, from the column 'msisdn'; 2 of 3 rows hold no mobile number there"
    )


def test_foreign_numbers_in_a_stop_list_are_counted(tmp_path):
    content = "msisdn;other\n0470 12 34 56;\n+33692000001;\n+33639980001;\n"

    listed = read_stop_list(written(tmp_path / "stop.csv", content), countries=["FR", "BE"])

    assert str(listed) == "Stop list: 3 numbers, from the column 'msisdn'"


def test_an_overseas_stop_with_33_stops_the_overseas_number(tmp_path):
    path = written(tmp_path / "stop.csv", "msisdn\n+33 692 00 00 01\n+33639980001\n")

    assert read_stop_list(path).numbers.tolist() == [33639980001, 262692000001]


def test_an_empty_stop_list_excludes_no_recipient(tmp_path):
    assert read_stop_list(written(tmp_path / "stop.csv", "msisdn\n")).numbers.tolist() == []


@pytest.mark.parametrize("wrong", ["12", "zero six", "3.3639980001E10"])
def test_an_unreadable_stop_is_refused_with_its_line(tmp_path, wrong):
    path = written(tmp_path / "stop.csv", f"msisdn\n+33639980001\n{wrong}\n")

    with pytest.raises(StopListUnsafe, match="line 3: the column 'msisdn'") as raised:
        read_stop_list(path)

    assert wrong not in str(raised.value).removeprefix(str(path))


@pytest.mark.parametrize(
    "wrong", ["12", "6,4E+08", "0639980002 / 06399800", "063998000 0639980003 06"]
)
def test_an_unreadable_second_telephone_is_refused(tmp_path, wrong):
    path = written(tmp_path / "stop.csv", f"msisdn;tel\n+33639980001;\n+33639980004;{wrong}\n")

    with pytest.raises(StopListUnsafe, match="line 3: the column 'tel'") as raised:
        read_stop_list(path)

    assert wrong not in str(raised.value).removeprefix(str(path))


@pytest.mark.parametrize("wrong", ["12", "6,4E+08", "06399800 / 06399800123456"])
def test_an_unreadable_telephone_is_refused_alone_too(tmp_path, wrong):
    path = written(tmp_path / "stop.csv", f"msisdn;tel\n+33639980001;\n;{wrong}\n")

    with pytest.raises(StopListUnsafe, match="line 3: the column 'tel' holds no number"):
        read_stop_list(path)


def test_only_numbers_in_the_stop_list_are_found():
    stop_list = np.array([3, 5, 9], np.int64)

    assert found_in(stop_list, np.array([1, 3, 4, 9, 12], np.int64)).tolist() == [3, 9]
    assert found_in(stop_list[:0], np.array([1], np.int64)).tolist() == []
