"""File names by the page: `SEND-SERVICEID-DATE-HOUR-CAMPAIGNID.csv`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

FRANCE = ZoneInfo("Europe/Paris")  # page, *File name*: HOUR "must be French local time"
NAME = re.compile(r"SEND-([A-Za-z0-9]{5})-([0-9]{8})-([0-9]{4})-([A-Za-z0-9]{1,20})")


class BadName(ValueError):
    """A name outside the nomenclature."""


@dataclass(frozen=True, slots=True)
class Name:
    """The parts of a file's name."""

    service_id: str
    date: str
    hour: str
    campaign_id: str

    @classmethod
    def parse(cls, stem: str, service_id: str) -> "Name":
        """Parse a name. Raises BadName with the wrong part."""
        match = NAME.fullmatch(stem)
        if not match:
            raise BadName("the name is not SEND-SERVICEID-DATE-HOUR-CAMPAIGNID")
        name = cls(*match.groups())
        if name.service_id != service_id:
            raise BadName(f"the service id {name.service_id} is not this account's")
        name.send_at()
        return name

    def send_at(self) -> datetime:
        """The requested moment, in UTC."""
        try:
            local = datetime.strptime(self.date + self.hour, "%Y%m%d%H%M").replace(tzinfo=FRANCE)
        except ValueError:
            raise BadName(f"{self.date}-{self.hour} is no date and hour") from None
        return local.astimezone(UTC)

    def report(self, kind: str, sent_at: datetime | None = None) -> str:
        """A report's name, with the requested hour, or that of `sent_at`."""
        hour = f"{self.date}-{self.hour}"
        if sent_at is not None:
            hour = f"{sent_at.astimezone(FRANCE):%Y%m%d-%H%M}"
        return f"{kind}-{self.service_id}-{hour}-{self.campaign_id}.csv"
