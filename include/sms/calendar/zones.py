"""Where people live: the clocks and the bank holidays that count beside those of Paris.

French law counts for French numbers wherever they are, by the hours of whoever is rung: mainland
France, Alsace-Moselle with two holidays more, and overseas, with clocks and holidays of its own
(R5-R7, section F). With `local_time` a country abroad is such a zone too.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from sms.errors import ConfigurationError

FRANCE, ALSACE_MOSELLE = "FR", "alsace_moselle"


@dataclass(frozen=True, slots=True)
class Zone:
    """People under the same clocks and holidays.

    Of several clocks nobody knows which is somebody's, so all of them count: it is open where all
    are. The same with the holidays of several subdivisions.
    """

    code: str  # ISO 3166's, or ALSACE_MOSELLE: what the ledger and the command line call it
    name: str
    clocks: tuple[str, ...]
    subdivisions: tuple[str, ...] = ()  # as `holidays` calls them
    country: str = FRANCE  # whose holidays

    @property
    def is_overseas(self) -> bool:
        """Whether it is a part of France beyond Europe."""
        return self.code in OVERSEAS

    def times(self) -> tuple[ZoneInfo, ...]:
        """Its clocks."""
        return tuple(ZoneInfo(clock) for clock in self.clocks)


MAINLAND = Zone(FRANCE, "mainland France", ("Europe/Paris",))
FRENCH = (
    MAINLAND,
    Zone(ALSACE_MOSELLE, "Alsace-Moselle", ("Europe/Paris",), ("57", "6AE")),
    # +590 and its ranges are shared with Saint-Barthélemy and Saint-Martin.
    Zone("GP", "Guadeloupe", ("America/Guadeloupe",), ("971", "BL", "MF")),
    Zone("MQ", "Martinique", ("America/Martinique",), ("972",)),
    Zone("GF", "Guyane", ("America/Cayenne",), ("973",)),
    Zone("RE", "La Réunion", ("Indian/Reunion",), ("974",)),
    Zone("PM", "Saint-Pierre-et-Miquelon", ("America/Miquelon",), ("PM",)),
    Zone("YT", "Mayotte", ("Indian/Mayotte",), ("976",)),
    Zone("WF", "Wallis-et-Futuna", ("Pacific/Wallis",), ("WF",)),
    Zone(
        "PF",
        "Polynésie française",
        ("Pacific/Tahiti", "Pacific/Marquesas", "Pacific/Gambier"),
        ("PF",),
    ),
    Zone("NC", "Nouvelle-Calédonie", ("Pacific/Noumea",), ("NC",)),
)
OVERSEAS = frozenset({"GP", "MQ", "GF", "RE", "PM", "YT", "WF", "PF", "NC", "BL", "MF"})

# Departments and collectivities with a zone of their own, by the digits that postcodes begin with.
DEPARTMENTS = {
    **dict.fromkeys(("57", "67", "68"), ALSACE_MOSELLE),
    **{"971": "GP", "972": "MQ", "973": "GF", "974": "RE", "975": "PM", "976": "YT"},
    **{"977": "GP", "978": "GP", "986": "WF", "987": "PF", "988": "NC"},
    "980": FRANCE,  # Monaco, which is no department of France; it keeps Paris' hours
}
_BY_CODE = {each.code: each for each in FRENCH}
_ALIASES = {"BL": "GP", "MF": "GP"}


def zone(code: str) -> Zone:
    """The zone of a country's code, a French department's or postcode, or `alsace_moselle`.

    Raises ConfigurationError for what is none of these.
    """
    wanted = code.strip()
    if wanted.casefold() == ALSACE_MOSELLE:
        return _BY_CODE[ALSACE_MOSELLE]
    wanted = told_by_postcode(wanted) or _ALIASES.get(wanted.upper(), wanted.upper())
    if known := _BY_CODE.get(wanted):
        return known
    clocks = _clocks().get(wanted)
    if clocks is None:
        raise ConfigurationError(
            f"{code!r} is no zone: write a country's code (ISO 3166, such as RE or BE), a "
            f"French department's (such as 75 or 974), or {ALSACE_MOSELLE}"
        )
    return Zone(wanted, wanted, clocks, country=wanted)


def told_by_postcode(written: str) -> str | None:
    """The zone's code that a French postcode or department tells; None if it is neither.

    Read as people and programs write them: with the country ("F-97100", "FR-971"), with the town
    behind ("97100 Basse-Terre"), with spaces of any kind, as a float, in a formula's quotes. A zero
    that a spreadsheet took away is put back: "1000" lies in the Ain. What begins like no department
    of France tells nothing: neither 99 nor 97 alone, which is any of five islands.
    """
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", written)).upper()
    found = _POSTCODE.fullmatch(_OUTER.sub("", plain))
    if not found:
        return None
    if found["corsica"]:
        return FRANCE
    if found["alsace"]:
        return ALSACE_MOSELLE
    if code := found["code"]:
        digits = re.sub("[ .,]", "", code)
    else:
        digits = found["short"]
        if len(digits) == 3 and not digits.startswith("0"):
            return DEPARTMENTS.get(digits)
        digits = digits[1:] if len(digits) == 3 else digits.zfill(5 if len(digits) == 4 else 2)
    if digits[:2] in ("97", "98"):
        return DEPARTMENTS.get(digits[:3])
    return DEPARTMENTS.get(digits[:2], FRANCE) if "01" <= digits[:2] <= "95" else None


# Quotes and what a spreadsheet's formula has around a text; what no screen shows.
_OUTER = re.compile(r"""^[\s"'=]+|[\s"']+$""")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
# A country before it counts if it is France, or a part of it with a code of its own.
_POSTCODE = re.compile(
    r"""(?:(?:F|FR|FRA|FRANCE|GP|MQ|GF|RE|PM|YT|WF|PF|NC|BL|MF)[ .:-]*(?=[0-9]))?
    (?: (?P<corsica> (?:2[ ]?|02)[AB] (?:[ ]?[0-9]{3})? )
      | (?P<alsace> 6AE )
      | (?P<short> [0-9]{1,4} ) (?:[.,]0+)?
      | (?P<code> [0-9]{2}[ .,]?[0-9]{3} | [0-9]{3}[ ][0-9]{2} )
        (?: [.,]0+ | [ ,;/(-]* [^\W\d_] (?:(?![0-9]{5}).)* )?
    )""",
    re.VERBOSE,
)


@cache
def bank_holidays(where: Zone, year: int) -> dict[date, str]:
    """A zone's bank holidays in a year, with their French names; none where nobody lists them."""
    from holidays import country_holidays  # here, as it takes a tenth of a second to load

    found: dict[date, str] = {}
    for subdivision in where.subdivisions or (None,):
        try:
            listed = country_holidays(
                where.country,
                subdiv=subdivision,
                years=year,
                language="fr" if where.country == FRANCE else None,
            )
        except NotImplementedError:
            return {}
        found |= dict(listed)
    return found


@cache
def _clocks() -> dict[str, tuple[str, ...]]:
    """Every country's clocks, by ISO 3166 code, from the time zone database itself."""
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    clocks: dict[str, tuple[str, ...]] = {}
    for code, _, name, *_ in rows:
        clocks[code] = (*clocks.get(code, ()), name)
    return clocks | _WITHOUT_ISO


# Countries by their numbers' metadata that ISO 3166, and so the database, does not list.
_WITHOUT_ISO = {
    "XK": ("Europe/Belgrade",),
    **dict.fromkeys(("AC", "TA"), ("Atlantic/St_Helena",)),
}
