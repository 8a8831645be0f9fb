"""The script that most people would write: pandas, a function for each row, one step at a time.

The rules are those of the campaign `load`, and its file must come out the same. It shares no code
with the product: `plain.py RECIPIENTS STOP_LIST OUT`.
"""

import hashlib
import sys
import unicodedata
from pathlib import Path

import jinja2
import pandas as pd
import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

MESSAGE = Path(__file__).parent / "campaigns" / "load" / "message.txt"
SENDER, STOP, CAMPAIGN = "LUMIERE", " STOP 36180", "load-2027-03-02"
COUNTRIES = {"FR", "BE", "CH", "DE", "ES", "GB", "IT"}
MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
EXTENSION = "^{}\\[~]|€"
GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà" + EXTENSION
)
REPLACEMENTS = {"œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "’": "'", "‘": "'", "“": '"', "”": '"'}
REPLACEMENTS |= {"«": '"', "»": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " "}


def number_of(raw: str) -> str | None:
    """A mobile number in E.164, if the campaign writes to its country."""
    try:
        number = phonenumbers.parse(raw, "FR")
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.number_type(number) not in MOBILE:
        return None
    if phonenumbers.region_code_for_number(number) not in COUNTRIES:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def in_gsm(text: str) -> str:
    """The text with each character that GSM 03.38 lacks replaced."""
    written = ""
    for character in unicodedata.normalize("NFC", text):
        if character in GSM:
            written += character
        elif character in REPLACEMENTS:
            written += REPLACEMENTS[character]
        else:
            for part in unicodedata.normalize("NFKD", character):
                if part in GSM:
                    written += part
    return written


def septets(text: str) -> int:
    """How long an SMS is."""
    return sum(2 if character in EXTENSION else 1 for character in text)


def is_missing(value: object) -> bool:
    """Whether a value leaves a hole in the text."""
    return pd.isna(value) or not str(value).strip()


def main(recipients: str, stop_list: str, out: str) -> None:
    """Write the file that the gateway takes."""
    people = pd.read_parquet(recipients)
    stopped = set(pd.read_parquet(stop_list)["msisdn"])
    template = jinja2.Template(MESSAGE.read_text(encoding="utf-8").strip())

    people = people[people["msisdn"].notna()]
    people["msisdn"] = people.apply(lambda row: number_of(row["msisdn"]), axis=1)
    people = people[people["msisdn"].notna()]
    people = people[~people.apply(lambda row: row["msisdn"] in stopped, axis=1)]
    for column in ("first_name", "points", "store"):
        people = people[~people.apply(lambda row, name=column: is_missing(row[name]), axis=1)]
    people = people.drop_duplicates("msisdn")

    people["msg"] = people.apply(lambda row: in_gsm(template.render(**row).strip() + STOP), axis=1)
    people = people[people.apply(lambda row: septets(row["msg"]) <= 160, axis=1)]
    people["oadc"] = SENDER
    people["idremote"] = people.apply(
        lambda row: hashlib.md5(f"{CAMPAIGN}/{row['key']}".encode()).hexdigest(), axis=1
    )
    people[["idremote", "msisdn", "oadc", "msg"]].to_csv(
        out, sep=";", header=False, index=False, lineterminator="\r\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
