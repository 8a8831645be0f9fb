"""The rows of the files in `Report`, as the page shows them (*Report Directory*).

What the page leaves open: dates are YYYYMMDD and hours HHMM in French local time, as in file names;
UTF-8, CRLF, no header, and RFC 4180 quotes. `bare` writes the form of the page's own example: no
quotes around a text with `;`, a blank after IDSTATUS, a blank inside ACKOPERATOR.
"""

from datetime import datetime

from sms_sandbox.checks import SubmittedRow
from sms_sandbox.names import FRANCE
from sms_sandbox.outcomes import Status

ACK_HEADER = "IDREMOTE;MSISDN;OADC;MSG;IDSTATUS;STATUS;ACKOPERATOR\r\n"
ANSWER_HEADER = "MSISDN;DATE;HOUR;MESSAGE;IDREMOTE\r\n"


def delivery(row: SubmittedRow, status: Status, ticket: str, *, bare: bool) -> str:
    """One row of an ACK file."""
    code = str(status.value)
    if bare:
        code, ticket = f"{code} ", f"{ticket[:24]} {ticket[24:]}"
    fields = [row.idremote, row.msisdn, row.oadc, row.msg, code, status.label, ticket]
    return _line(fields, bare=bare)


def answer(row: SubmittedRow, text: str, at: datetime, *, bare: bool) -> str:
    """One row of a STOP or SMSMO file."""
    local = at.astimezone(FRANCE)
    fields = [row.msisdn, f"{local:%Y%m%d}", f"{local:%H%M}", text, row.idremote]
    return _line(fields, bare=bare)


def _line(fields: list[str], *, bare: bool) -> str:
    written = (_on_one_line(field) if bare else _quoted(field) for field in fields)
    return ";".join(written) + "\r\n"


def _quoted(field: str) -> str:
    if any(c in field for c in ';"\r\n'):
        return '"' + field.replace('"', '""') + '"'
    return field


def _on_one_line(field: str) -> str:
    return field.replace("\r\n", " ").replace("\r", " ").replace("\n", " ")
