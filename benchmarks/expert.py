"""The quickest script by row that we could write: streams, sets, tables, caches, own short cuts.

The rules are those of the campaign `load`, and its file must come out the same. It shares no code
with the product: `expert.py RECIPIENTS STOP_LIST OUT`.
"""

import csv
import hashlib
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import phonenumbers
import pyarrow.parquet as pq
from phonenumbers import PhoneNumberType

MESSAGE = Path(__file__).parent / "campaigns" / "load" / "message.txt"
SENDER, STOP, CAMPAIGN = "LUMIERE", " STOP 36180", "load-2027-03-02"
COUNTRIES = {"FR", "BE", "CH", "DE", "ES", "GB", "IT"}
MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
COLUMNS = ["key", "msisdn", "first_name", "points", "store"]

# What is a French mobile beyond doubt; libphonenumber is asked about all others.
SEPARATORS = str.maketrans("", "", " .-/")
PLAINLY_FRENCH = re.compile(r"(?:\+33|0033|0)((?:6[0-24-8]|7[3-9])[0-9]{7})").fullmatch
EXTENSION = re.compile(r"[\^{}\\\[~\]|€]")
GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€"
)


class Alphabet(dict[int, str | int]):
    """What `str.translate` puts for each character; a new one is looked up once."""

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        split = [character] if character in GSM else unicodedata.normalize("NFKD", character)
        self[code] = "".join(part for part in split if part in GSM)
        return self[code]


ALPHABET = Alphabet(str.maketrans({"œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "…": "..."}))
ALPHABET.update(str.maketrans("’‘“”«»–—", '\'\'""""--'))


@lru_cache(maxsize=1 << 16)
def asked(raw: str) -> int | None:
    """A mobile number of an enabled country, as libphonenumber reads it."""
    try:
        number = phonenumbers.parse(raw, "FR")
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.number_type(number) not in MOBILE:
        return None
    if phonenumbers.region_code_for_number(number) not in COUNTRIES:
        return None
    return int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def quickly(raw: str) -> int | None:
    """The same; what is plainly French is not asked about."""
    match = PLAINLY_FRENCH(raw.translate(SEPARATORS))
    return 33 * 10**9 + int(match[1]) if match else asked(raw)


def messages(
    rows: Iterable[tuple[str | None, ...]],
    number_of: Callable[[str], int | None],
    stopped: set[int],
    seen: set[int],
) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the file; `seen` remembers who has got one."""
    text = re.sub(r"\{\{ (\w+) \}\}", r"{\1}", MESSAGE.read_text(encoding="utf-8").strip())
    write, normalize, digest = text.format, unicodedata.normalize, hashlib.md5
    for key, raw, name, points, store in rows:
        if not raw:
            continue
        number = number_of(raw)
        if number is None or number in stopped or number in seen:
            continue
        if not (name and points and store and name.strip() and points.strip() and store.strip()):
            continue
        seen.add(number)
        written = write(first_name=name, points=points, store=store).strip() + STOP
        message = normalize("NFC", written).translate(ALPHABET)
        if len(message) > 80 and len(message) + len(EXTENSION.findall(message)) > 160:
            continue
        yield digest(f"{CAMPAIGN}/{key}".encode()).hexdigest(), f"+{number}", SENDER, message


def main(
    recipients: str,
    stop_list: str,
    out: str,
    number_of: Callable[[str], int | None] = quickly,
) -> None:
    """Write the file that the gateway takes."""
    stopped = {int(number) for number in pq.read_table(stop_list)["msisdn"].to_pylist()}
    seen: set[int] = set()
    with open(out, "w", encoding="utf-8", newline="") as sink:
        file = csv.writer(sink, delimiter=";", lineterminator="\r\n")
        for batch in pq.ParquetFile(recipients).iter_batches(1 << 16, columns=COLUMNS):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            file.writerows(messages(rows, number_of, stopped, seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
