"""Each recipient's zone, by the warehouse's postcode or department, else by the number."""

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
    zone,
    zone_of_postcode,
)
from sms.campaign.definition import Campaign, Kind
from sms.columnar.nulls import OF_NUMBERS
from sms.telecom.msisdn import REGIONS

Places = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Geography:
    """The zones of a campaign, and how recipients are assigned to them.

    `by_postcode`: a column names the place. `lacks_postcode`: a column would count, and
    campaign.yaml names none. `excludes_overseas`: recipients outside Europe are excluded.
    """

    zones: tuple[Zone, ...]  # a recipient has an index in these; the first is the default
    by_postcode: bool = False
    lacks_postcode: bool = False
    excludes_overseas: bool = False

    @classmethod
    def of(cls, campaign: Campaign) -> "Geography":
        """The geography of a campaign; a transactional one has no zones, but may exclude some."""
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
            lacks_postcode=campaign.postcode is None and _depends_on_place(campaign),
            excludes_overseas=campaign.overseas == "exclude",
        )

    def places(self, region: Places, postcode: pa.Array | None) -> Places:
        """Each row's index in `zones`, from its number's index in REGIONS and its postcode.

        UNREADABLE for a French number whose postcode is filled and can't be read: it may be on an
        island where it is night.
        """
        by_number: Places = self._by_region[region]
        if postcode is None:
            return by_number
        # Other countries' postcodes look like French ones: 10001 is New York.
        french = _FRENCH[region]
        encoded = postcode.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        place_of_word = np.array(
            [self._place_of_postcode(word) for word in words] + [_NO_POSTCODE], np.int16
        )
        by_postcode: Places = place_of_word[encoded.indices.fill_null(len(words)).to_numpy()]
        return np.where(french & (by_postcode != _NO_POSTCODE), by_postcode, by_number)

    @cached_property
    def overseas(self) -> npt.NDArray[np.bool_]:
        """Which of the zones are outside Europe."""
        return np.array([each.is_overseas for each in self.zones])

    @cached_property
    def _by_region(self) -> Places:
        # A mainland number does not show Alsace-Moselle: it gets the default zone.
        places = [0 if region == FRANCE else self._place(_zone_of(region)) for region in REGIONS]
        return np.array(places, np.int16)

    def _place_of_postcode(self, postcode: str) -> int:
        code = zone_of_postcode(postcode)
        if code is not None:
            return self._place(code)
        return _NO_POSTCODE if _is_none(postcode) else UNREADABLE

    def _place(self, code: str) -> int:
        places = [place for place, each in enumerate(self.zones) if each.code == code]
        return places[0] if places else 0


UNREADABLE, _NO_POSTCODE = -1, -2
_FRENCH = np.isin(REGIONS, [FRANCE, *OVERSEAS])
ONE_ZONE = Geography((zone(FRANCE),))


def _depends_on_place(campaign: Campaign) -> bool:
    """Whether a campaign depends on the recipients' place in France."""
    if campaign.kind is not Kind.MARKETING:
        return campaign.overseas == "exclude"
    return campaign.overseas != "mainland" or campaign.alsace_moselle != "ignore"


def _is_none(postcode: str) -> bool:
    """Whether a cell is blank, or a spelling of null."""
    seen = "".join(sign for sign in postcode if sign.isprintable() and not sign.isspace())
    return seen.strip("'\"=").casefold() in {"", *OF_NUMBERS}


def _zone_of(region: str) -> str:
    """The zone's code of a number's country."""
    return zone(region).code if region in OVERSEAS else region
