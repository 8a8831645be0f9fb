"""A phone number of any kind as a person gives it: read so that it can be looked up."""

import re

import phonenumbers

from sms.wire.report_rows import number

LETTER = re.compile(r"[^\W\d_]")


def dialled(written: str) -> int | None:
    """A number of any kind as somebody gives it, a landline too; None for what is no number.

    Beyond what a stop list reads, which knows mobiles nationally and all others internationally.
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
