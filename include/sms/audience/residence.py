"""Each recipient's zone, by a postcode or department of the warehouse's, else by their number."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms.calendar.zones import (
    ALSACE_MOSELLE,
    FRANCE,
    FRENCH,
    OVERSEAS,
    Zone,
    told_by_postcode,
    zone,
)
from sms.campaign.definition import Campaign, Kind
from sms.columnar.nulls import OF_NUMBERS
from sms.telecom.msisdn import REGIONS

Places = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Geography:
    """What a campaign makes of where people live: the zones that it tells apart, and by what.

    `by_postcode` says whether a column tells it, `lacks_postcode` whether one would and is not
    named, `excludes_overseas` whether people beyond Europe are left out.
    """

    zones: tuple[Zone, ...]  # a recipient's zone is a place in these; the first is everybody else's
    by_postcode: bool = False
    lacks_postcode: bool = False
    excludes_overseas: bool = False

    @classmethod
    def of(cls, campaign: Campaign) -> "Geography":
        """The geography of a campaign; a transactional one needs no zones, but may exclude some."""
        elsewhere = FRANCE
        if campaign.alsace_moselle == "close":
            elsewhere = ALSACE_MOSELLE
        codes = [elsewhere]
        if campaign.kind is Kind.MARKETING or campaign.overseas == "exclude":
            by_place = campaign.postcode and campaign.kind is Kind.MARKETING
            if by_place and campaign.alsace_moselle != "ignore":
                codes += [FRANCE, ALSACE_MOSELLE]
            if campaign.overseas != "mainland":
                codes += [each.code for each in FRENCH if each.is_overseas]
            if campaign.local_time:
                codes += [each for each in campaign.allowed_countries if each not in OVERSEAS]
        return cls(
            tuple(zone(code) for code in dict.fromkeys(codes)),
            by_postcode=campaign.postcode is not None and len(codes) > 1,
            lacks_postcode=campaign.postcode is None and _asks_where(campaign),
            excludes_overseas=campaign.overseas == "exclude",
        )

    def places(self, region: Places, postcode: pa.Array | None) -> Places:
        """Each row's place in `zones`, of its number's place in REGIONS and its postcode.

        UNREADABLE where a French number has a postcode that is filled and can't be read: it may be
        that of an island where it is night.
        """
        by_number: Places = self._by_region[region]
        if postcode is None:
            return by_number
        # Other countries' postcodes look like French ones: 10001 is New York.
        french = _FRENCH[region]
        encoded = postcode.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        told = np.array([self._told(word) for word in words] + [_UNTOLD], np.int16)
        by_postcode: Places = told[encoded.indices.fill_null(len(words)).to_numpy()]
        return np.where(french & (by_postcode != _UNTOLD), by_postcode, by_number)

    @cached_property
    def overseas(self) -> npt.NDArray[np.bool_]:
        """Which of the zones lie beyond Europe."""
        return np.array([each.is_overseas for each in self.zones])

    @cached_property
    def _by_region(self) -> Places:
        # A number of mainland France tells nothing of Alsace-Moselle: it lives where most may.
        places = [0 if region == FRANCE else self._place(_zone_of(region)) for region in REGIONS]
        return np.array(places, np.int16)

    def _told(self, postcode: str) -> int:
        code = told_by_postcode(postcode)
        if code is not None:
            return self._place(code)
        return _UNTOLD if _is_none(postcode) else UNREADABLE

    def _place(self, code: str) -> int:
        places = [place for place, each in enumerate(self.zones) if each.code == code]
        return places[0] if places else 0


UNREADABLE, _UNTOLD = -1, -2
_FRENCH = np.isin(REGIONS, [FRANCE, *OVERSEAS])
ONE_ZONE = Geography((zone(FRANCE),))


def _asks_where(campaign: Campaign) -> bool:
    """Whether it matters to a campaign where in France people live."""
    if campaign.kind is not Kind.MARKETING:
        return campaign.overseas == "exclude"
    return campaign.overseas != "mainland" or campaign.alsace_moselle != "ignore"


def _is_none(postcode: str) -> bool:
    """Whether a cell is blank, or spells a null as some program does."""
    seen = "".join(sign for sign in postcode if sign.isprintable() and not sign.isspace())
    return seen.strip("'\"=").casefold() in {"", *OF_NUMBERS}


def _zone_of(region: str) -> str:
    """The zone's code of a number's country."""
    return zone(region).code if region in OVERSEAS else region
