"""What a column of the query is meant to be, by its name alone, however it is written.

An optional column under another name would be ignored, and nobody would hear of it: an opt-out,
or an hour at which people sleep.
"""

from collections.abc import Sequence
from difflib import get_close_matches

OPTED_OUT = "opted_out"  # the query's optional column, in whatever case and with whatever signs
OPT_OUT_NAMES = ("optedout", "optout")  # without signs and case
POSTCODE_NAMES = ("postcode", "postalcode", "codepostal", "zipcode")
POSTCODE_WORDS = (*POSTCODE_NAMES, "codpostal", "postleitzahl", "plz", "zip", "cp")
# Whose it is: the column of somebody else, such as a store, is an ordinary one.
OWNERS = (
    *("customer", "client", "user", "contact", "person", "personne", "member", "membre"),
    *("recipient", "home", "domicile", "address", "adresse"),
)


def means_opted_out(name: str) -> bool:
    """Whether a column says who has opted out."""
    return _letters(name) in OPT_OUT_NAMES


def resembles_opted_out(name: str) -> bool:
    """Whether a column may be meant to say so, and is no such column."""
    letters = _letters(name)
    return letters not in OPT_OUT_NAMES and bool(
        get_close_matches(letters, OPT_OUT_NAMES, cutoff=0.8)
    )


def means_postcode(name: str) -> bool:
    """Whether a column plainly holds people's postcodes, `cost_code` and `store_postcode` not."""
    letters = _letters(name)
    for owner in OWNERS:
        letters = letters.removeprefix(owner).removesuffix(owner)
    near = get_close_matches(letters, POSTCODE_NAMES, cutoff=0.9)
    return letters in POSTCODE_WORDS or bool(near)


def alike(name: str, present: Sequence[str]) -> str | None:
    """The column that is likely meant by a name that is not there, such as KEY for key."""
    letters = _letters(name)
    return next(
        (each for each in present if _letters(each) == letters),
        next((each for each in present if letters and _letters(each).endswith(letters)), None),
    )


def _letters(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalpha())
