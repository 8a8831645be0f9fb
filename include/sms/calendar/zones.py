"""Zones: the local times and bank holidays that count beside those of Paris.

French law applies to French numbers everywhere, by the recipient's local hours: mainland France,
Alsace-Moselle with two more holidays, and overseas with their own clocks and holidays (R5-R7,
section F). With `local_time`, a foreign country is a zone too.
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
    """Recipients with the same local times and holidays.

    A zone with several local times is open when all of them are, since a recipient's own is
    unknown. The holidays of all its subdivisions count.
    """

    code: str  # of ISO 3166, or ALSACE_MOSELLE; as in the ledger and on the command line
    name: str
    clocks: tuple[str, ...]
    subdivisions: tuple[str, ...] = ()  # names in the package `holidays`
    country: str = FRANCE  # of the holidays

    @property
    def is_overseas(self) -> bool:
        """Whether the zone is a part of France outside Europe."""
        return self.code in OVERSEAS

    def times(self) -> tuple[ZoneInfo, ...]:
        """The zone's local times."""
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

# Departments and collectivities that are zones, by the first digits of their postcodes.
DEPARTMENTS = {
    **dict.fromkeys(("57", "67", "68"), ALSACE_MOSELLE),
    **{"971": "GP", "972": "MQ", "973": "GF", "974": "RE", "975": "PM", "976": "YT"},
    **{"977": "GP", "978": "GP", "986": "WF", "987": "PF", "988": "NC"},
    "980": FRANCE,  # Monaco: not a French department, with the hours of Paris
}
_BY_CODE = {each.code: each for each in FRENCH}
_ALIASES = {"BL": "GP", "MF": "GP"}


def zone(code: str) -> Zone:
    """The zone of a country's code, a French department's or postcode, or `alsace_moselle`.

    Raises ConfigurationError for any other code.
    """
    wanted = code.strip()
    if wanted.casefold() == ALSACE_MOSELLE:
        return _BY_CODE[ALSACE_MOSELLE]
    wanted = zone_of_postcode(wanted) or _ALIASES.get(wanted.upper(), wanted.upper())
    if french := _BY_CODE.get(wanted):
        return french
    clocks = _clocks().get(wanted)
    if clocks is None:
        raise ConfigurationError(
            f"{code!r} is no zone: write a country's code (ISO 3166, such as RE or BE), a "
            f"French department's (such as 75 or 974), or {ALSACE_MOSELLE}"
        )
    return Zone(wanted, wanted, clocks, country=wanted)


def zone_of_postcode(written: str) -> str | None:
    """The zone's code of a French postcode or department; None for any other text.

    Accepts common spellings: with a country ("F-97100", "FR-971"), with a town ("97100
    Basse-Terre"), with any spaces, as a float, in a formula's quotes. A zero that a spreadsheet
    dropped is restored: "1000" is in the Ain. A prefix of no department gives None: 99, and 97
    alone, which is any of five islands.
    """
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", written)).upper()
    match = _POSTCODE.fullmatch(_OUTER.sub("", plain))
    if not match:
        return None
    if match["corsica"]:
        return FRANCE
    if match["alsace"]:
        return ALSACE_MOSELLE
    if code := match["code"]:
        digits = re.sub("[ .,]", "", code)
    else:
        digits = match["short"]
        if len(digits) == 3 and not digits.startswith("0"):
            return DEPARTMENTS.get(digits)
        digits = digits[1:] if len(digits) == 3 else digits.zfill(5 if len(digits) == 4 else 2)
    if digits[:2] in ("97", "98"):
        return DEPARTMENTS.get(digits[:3])
    return DEPARTMENTS.get(digits[:2], FRANCE) if "01" <= digits[:2] <= "95" else None


# Quotes and formula signs around a text; characters that no screen shows.
_OUTER = re.compile(r"""^[\s"'=]+|[\s"']+$""")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
# A country before the digits counts if it is France, or a part of it with its own code.
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
    """A zone's bank holidays in a year, with their French names; none if the package has none."""
    from holidays import country_holidays  # imported late: it takes a tenth of a second

    names: dict[date, str] = {}
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
        names |= dict(listed)
    return names


@cache
def _clocks() -> dict[str, tuple[str, ...]]:
    """Every country's local times, by ISO 3166 code, from the time zone database."""
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    clocks: dict[str, tuple[str, ...]] = {}
    for code, _, name, *_ in rows:
        clocks[code] = (*clocks.get(code, ()), name)
    return clocks | _WITHOUT_ISO


# Countries in the metadata of numbers that are not in ISO 3166, and so not in the database.
_WITHOUT_ISO = {
    "XK": ("Europe/Belgrade",),
    **dict.fromkeys(("AC", "TA"), ("Atlantic/St_Helena",)),
}
