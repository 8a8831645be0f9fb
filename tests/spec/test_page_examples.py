"""The examples of the provider's page, unchanged, including its mistakes."""

import io
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from sms.clock import PARIS
from sms.telecom import gsm
from sms.wire import inspection
from sms.wire.inspection import FaultCode, Rules
from sms.wire.names import Phase, ReportKind, ReportName, SubmissionName, phase_of
from sms.wire.send_file import Dialect

HERE = Path(__file__).parent
STEM = "SEND-12345-20160728-1827-testpushsftp"


def faults(content: bytes, rules: Rules = inspection.STANDARD) -> list[tuple[int, str]]:
    found = inspection.check(io.BytesIO(content), Dialect(), rules)
    return [(fault.line, str(fault.code)) for fault in found]


def test_the_pages_line_has_only_its_known_typos():
    line = (HERE / "send_line.csv").read_bytes()

    assert line.decode().split(";", 3)[:3] == ["VSQR0339", "+33787798753", "Logement"]
    # `Ă©tage` is mojibake of `étage` (R24); the page shows no line end.
    assert faults(line) == [(1, FaultCode.CHARACTERS), (1, FaultCode.LINE_END)]


def test_the_pages_line_without_its_typos_is_compliant():
    line = (HERE / "send_line.csv").read_bytes().decode()
    mended = line.replace("Ă©", "é").rstrip("Â\u00a0 ") + "\r\n"

    assert faults(mended.encode()) == []


def test_the_typos_of_the_page_are_recognised_as_mojibake():
    text = (HERE / "send_line.csv").read_bytes().decode().split(";", 3)[3]

    assert gsm.clean(pa.array([text])).mojibake.tolist() == [True]


@pytest.mark.parametrize("character", list("€[]{}"))
def test_characters_counted_double_take_two_septets(character):
    assert gsm.septets(pa.array([character])).tolist() == [2]
    assert gsm.segments(pa.array(["a" * 158 + character])).tolist() == [1]
    assert gsm.segments(pa.array(["a" * 159 + character])).tolist() == [2]


def test_five_segments_of_153_characters_are_the_maximum():
    fits, too_long = "a" * (5 * 153), "a" * (5 * 153 + 1)
    row = "A1;+33639980001;BOUTIQUE;{}\r\n"

    assert faults(row.format(fits).encode(), Rules(long_sms=True)) == []
    assert faults(row.format(too_long).encode(), Rules(long_sms=True)) == [(1, "too_long")]
    assert faults(row.format("a" * 160).encode()) == []
    assert faults(row.format("a" * 161).encode()) == [(1, "too_long")]


def test_the_pages_file_name_is_ours():
    name = SubmissionName("12345", datetime(2016, 7, 28, 18, 27, tzinfo=PARIS), "testpushsftp")

    assert name.at(Phase.CSV) == "SEND-12345-20160728-1827-testpushsftp.csv"
    assert name.at(Phase.TMP) == "SEND-12345-20160728-1827-testpushsftp.tmp"


@pytest.mark.parametrize("extension", ["tmp", "csv", "lock", "done", "reject"])
def test_each_extension_of_the_page_is_understood(extension):
    assert phase_of(f"{STEM}.{extension}", STEM) is Phase(extension)


def test_a_name_without_its_hyphen_is_not_ours():
    assert phase_of("SEND12345-20160728-1827-testpushsftp.csv", STEM) is None


@pytest.mark.parametrize("kind", list(ReportKind))
def test_each_report_of_the_page_matches_its_file(kind):
    name = ReportName.parse(f"{kind}-12345-20160728-1827-testpushsftp.csv")

    assert name is not None
    assert name.kind is kind
    assert name.stem == STEM
