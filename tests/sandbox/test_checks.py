"""The provider's rules for the content of a file."""

from pathlib import Path

import pytest

from sms_sandbox import gsm
from sms_sandbox.account import Account
from sms_sandbox.checks import Content, NotCompliant, check, rows

FINE = "id1;+33639980000;Logement;Bonjour\r\n"
LONGEST_ID = "a" * 40

COMPLIANT = {
    "one row": FINE,
    "no line break after the last row": FINE.strip(),
    "no IDREMOTE and no OADC": ";+33639980000;;Bonjour\r\n",
    "the longest IDREMOTE and OADC": f"{LONGEST_ID};+33639980000;ABCDEFGHIJ9;Bonjour\r\n",
    "160 septets": f"id1;+33639980000;Shop;{'é' * 158}€\r\n",
    "a quoted delimiter": 'id1;+33639980000;Shop;"4P; 79m2, ""calme"""\r\n',
    "a quoted line break": 'id1;+33639980000;Shop;"deux\r\nlignes"\r\n',
    "characters that will be replaced": "id1;+33639980000;Shop;ça va 😀\r\n",
    "the page's own example": (
        "VSQR0339;+33787798753;Logement; 4P 79m2 3ème étage Imm ancien 2Chbres Volumes vue "
        "Parfait état http://www.URL.com/fr/ref-VSQR0339\r\n"
    ),
}

FAULTY = {
    "empty": ("", "the file is empty"),
    "only LF": (FINE.replace("\r\n", "\n"), "a line ends otherwise than with CRLF"),
    "LF in the middle": (f"{FINE.strip()}\n{FINE}", "a line ends otherwise than with CRLF"),
    "a header": (f"IDREMOTE;MSISDN;OADC;MSG\r\n{FINE}", "MSISDN is not in the international"),
    "a byte order mark": (f"\ufeff{FINE}", "IDREMOTE is not"),
    "three fields": ("id1;+33639980000;Bonjour\r\n", "3 fields"),
    "a bare delimiter in the text": ("id1;+33639980000;Shop;Bon; jour\r\n", "5 fields"),
    "an empty line": (f"{FINE}\r\n", "record 2: 1 fields"),
    "an open quote": ('id1;+33639980000;Shop;"Bonjour\r\n', "quotes are not as in RFC 4180"),
    "a quote inside a text": ('id1;+33639980000;Shop;Bon"jour\r\n', "quotes are not"),
    "IDREMOTE with a hyphen": ("a-b;+33639980000;Shop;Bonjour\r\n", "IDREMOTE is not"),
    "IDREMOTE of 41": (f"a{LONGEST_ID};+33639980000;Shop;Bonjour\r\n", "IDREMOTE is not"),
    "a national number": ("id1;0639980000;Shop;Bonjour\r\n", "MSISDN is not"),
    "a number without +": ("id1;33639980000;Shop;Bonjour\r\n", "MSISDN is not"),
    "a number with blanks": ("id1;+33 6 39 98 00 00;Shop;Bonjour\r\n", "MSISDN is not"),
    "OADC of 12": ("id1;+33639980000;ABCDEFGHIJKL;Bonjour\r\n", "OADC is not"),
    "OADC with an accent": ("id1;+33639980000;Été;Bonjour\r\n", "OADC is not"),
    "OADC with a blank": ("id1;+33639980000;Le Shop;Bonjour\r\n", "OADC is not"),
    "no text": ("id1;+33639980000;Shop;\r\n", "MSG is empty"),
    "a blank text": ("id1;+33639980000;Shop;   \r\n", "MSG is empty"),
    "161 septets": (f"id1;+33639980000;Shop;{'a' * 159}€\r\n", "MSG is longer than one SMS"),
    "the same number twice": (FINE + FINE, "record 2: the same MSISDN as record 1"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.csv"


@pytest.mark.parametrize("text", COMPLIANT.values(), ids=COMPLIANT)
def test_a_compliant_file_is_accepted(file, text):
    file.write_bytes(text.encode())

    assert check(file, Account()) == Content(messages=1, segments=1)


@pytest.mark.parametrize(("text", "reason"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_file_is_refused(file, text, reason):
    file.write_bytes(text.encode())

    with pytest.raises(NotCompliant) as fault:
        check(file, Account())

    assert reason in str(fault.value)
    assert "9980000" not in str(fault.value)


def test_another_encoding_is_a_fault_unless_agreed(file):
    file.write_bytes("id1;+33639980000;Shop;été\r\n".encode("latin-1"))

    with pytest.raises(NotCompliant, match="not in utf-8"):
        check(file, Account())
    assert check(file, Account(encoding="latin-1")).messages == 1


def test_a_long_text_needs_the_option_and_five_parts(file):
    account = Account(long_sms=True)
    file.write_bytes(f"id1;+33639980000;Shop;{'a' * 765}\r\n".encode())
    assert check(file, account) == Content(messages=1, segments=5)

    file.write_bytes(f"id1;+33639980000;Shop;{'a' * 766}\r\n".encode())
    with pytest.raises(NotCompliant, match="takes 6 SMS"):
        check(file, account)


def test_too_many_rows_are_a_fault(file):
    file.write_bytes("".join(f"id;+336399800{n:02d};Shop;Oui\r\n" for n in range(4)).encode())

    assert check(file, Account(most_rows=4)).messages == 4
    with pytest.raises(NotCompliant, match="record 4: more than 3 recipients"):
        check(file, Account(most_rows=3))


def test_records_do_not_depend_on_block_borders(file, monkeypatch):
    text = COMPLIANT["a quoted delimiter"] + 'x;+33639980001;;"é\r\n"";"\r\ny;+33639980002;;é\r\n'
    file.write_bytes(text.encode())
    whole = list(rows(file, "utf-8"))

    for size in range(1, 20):
        monkeypatch.setattr("sms_sandbox.checks.CHUNK", size)
        assert list(rows(file, "utf-8")) == whole
    assert [row.msg for row in whole] == ['4P; 79m2, "calme"', 'é\r\n";', "é"]


@pytest.mark.parametrize(
    ("text", "unicode", "segments"),
    [
        ("a" * 160, False, 1),
        ("a" * 161, False, 2),
        ("€" * 80, False, 1),
        ("€" * 81, False, 2),
        ("a" * 152 + "€" + "a" * 151, False, 2),  # the pair moves to the second part ...
        ("a" * 152 + "€" + "a" * 152, False, 3),  # ... which has 306 septets overflow
        ("ж" * 70, True, 1),
        ("ж" * 71, True, 2),
        ("😀" * 35, True, 1),
    ],
)
def test_texts_are_counted_in_segments(text, unicode, segments):
    assert gsm.segments(text, unicode=unicode) == segments
