"""Parsing of a phone number of any kind, for a look-up."""

import re

import phonenumbers

from sms.wire.report_rows import number

LETTER = re.compile(r"[^\W\d_]")


def dialled(written: str) -> int | None:
    """A number of any kind, also a landline, from its text; None if it is no number.

    It accepts more than the stop list's parser, which reads national notation for mobiles only.
    """
    read = number(written.encode())
    if read is not None or LETTER.search(written):
        return read
    try:
        parsed = phonenumbers.parse(written, "FR")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return int(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)[1:])
