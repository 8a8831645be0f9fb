"""Names of files at the gateway: ours in `Send`, the provider's in `Report` (R25, R27, R30-R34).

A stem never changes, only its extension does. This module uses French wall time because the
provider reads it from the name.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sms.clock import PARIS
from sms.errors import ConfigurationError

STEM = re.compile(r"SEND-([A-Za-z0-9]{5})-(\d{8})-(\d{4})-([A-Za-z0-9]{1,20})", re.ASCII)
# Any case, ASCII only: Python's IGNORECASE would also match a long s and the Kelvin sign.
ANY_CASE = re.IGNORECASE | re.ASCII
SEND_NAME = re.compile(rf"({STEM.pattern})(?:\.csv)?\.(tmp|csv|lock|done|reject)", ANY_CASE)
DRAFT_NAME = re.compile(rf"({STEM.pattern})\.[0-9a-f]{{8}}\.tmp", ANY_CASE)
REPORT_NAME = re.compile(
    r"(ACK|STOP|SMSMO)-([A-Za-z0-9]{5})-(\d{8})-(\d{2,6})-([A-Za-z0-9]{1,20})\.csv(\.gz)?",
    ANY_CASE,
)
# Files with a report's word in another name, for whatever reason.
LIKE_REPORT = re.compile(r"(?<![A-Za-z])(ACK|STOP|SMSMO)(?![A-Za-z])", ANY_CASE)


class Phase(StrEnum):
    """The state of a file at the gateway, by its extension (spec, *File processing*)."""

    TMP = "tmp"
    CSV = "csv"
    LOCK = "lock"
    DONE = "done"
    REJECT = "reject"


ARRIVED = frozenset({Phase.CSV, Phase.LOCK, Phase.DONE, Phase.REJECT})


class ReportKind(StrEnum):
    """The content of a report: deliveries, opt-outs, or replies."""

    ACK = "ACK"
    STOP = "STOP"
    SMSMO = "SMSMO"


@dataclass(frozen=True, slots=True)
class SubmissionName:
    """The fixed name of a file at the gateway; only its extension changes."""

    service_id: str
    send_at: datetime
    campaign_id: str

    def __post_init__(self) -> None:
        if self.send_at.tzinfo is None:
            raise ValueError("send_at must be aware")
        local = self.send_at.astimezone(PARIS)
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            raise ConfigurationError(
                f"{local:%Y-%m-%d %H:%M} comes twice in France that night, and a file name can't "
                "say which: choose an hour outside 02:00-03:00"
            )
        if not STEM.fullmatch(self.stem):
            raise ConfigurationError(
                f"{self.stem} is no name for a file at the gateway: the service id has 5 letters "
                "or digits, the campaign id at most 20 (spec, *File name*)"
            )

    @property
    def stem(self) -> str:
        """`SEND-SERVICEID-DATE-HOUR-CAMPAIGNID`, DATE and HOUR in French local time."""
        local = self.send_at.astimezone(PARIS)
        return f"SEND-{self.service_id}-{local:%Y%m%d-%H%M}-{self.campaign_id}"

    def at(self, phase: Phase) -> str:
        """The file name at a phase; `.tmp` replaces `.csv`, it is not appended (R27)."""
        return f"{self.stem}.{phase}"


def draft_name(stem: str, token: str) -> str:
    """The name of one try's unfinished upload; each try has its own."""
    return f"{stem}.{hashlib.sha256(token.encode()).hexdigest()[:8]}.{Phase.TMP}"


def is_draft(name: str, stem: str) -> bool:
    """Whether a name in `Send` is an unfinished upload of `stem`."""
    match = DRAFT_NAME.fullmatch(name)
    return match is not None and match[1].casefold() == stem.casefold()


def stem_of(name: str) -> str | None:
    """The stem of a file in `Send` or of an unfinished upload; None for any other name."""
    match = SEND_NAME.fullmatch(name) or DRAFT_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class ReportName:
    """A report's name: its account and the file that it reports on."""

    kind: ReportKind
    service_id: str
    date_hour: str
    campaign_id: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.service_id}-{self.date_hour}-{self.campaign_id}.csv"

    @property
    def stem(self) -> str:
        """The stem of the reported file, if the provider kept its hour (R34)."""
        return f"SEND-{self.service_id}-{self.date_hour}-{self.campaign_id}"

    @classmethod
    def parse(cls, name: str) -> "ReportName | None":
        """The parsed name of a report; None for any other file."""
        match = REPORT_NAME.fullmatch(name)
        if not match:
            return None
        kind, service_id, date, hour, campaign_id, _ = match.groups()
        return cls(ReportKind(kind.upper()), service_id, f"{date}-{hour}", campaign_id)


def reports_on(name: str, stem: str) -> bool:
    """Whether a file is a report on the file of this stem."""
    report = ReportName.parse(name)
    return report is not None and report.stem.casefold() == stem.casefold()


def is_compressed(name: str) -> bool:
    """Whether a report's name marks it as packed by gzip."""
    return name.lower().endswith(".gz")


def misnamed_report(name: str) -> ReportKind | None:
    """The kind of a report with an invalid name; None for a valid name or another file."""
    if ReportName.parse(name) is not None:
        return None
    words = {word.upper() for word in LIKE_REPORT.findall(name)}
    return next((kind for kind in _STOPS_FIRST if kind in words), None)


_STOPS_FIRST = (ReportKind.STOP, ReportKind.SMSMO, ReportKind.ACK)


def announces_report(name: str) -> bool:
    """Whether a name is a report's, valid or not."""
    return ReportName.parse(name) is not None or misnamed_report(name) is not None


def phase_of(name: str, stem: str) -> Phase | None:
    """The phase of `stem` in a name from `Send`; None for another file's name.

    Accepts `stem.tmp` and `stem.csv.tmp` in any case: the provider's page and its example differ
    (R27).
    """
    match = SEND_NAME.fullmatch(name)
    if not match or match[1].casefold() != stem.casefold():
        return None
    return Phase(match[match.lastindex or 0].lower())


def submitted_file(name: str) -> str | None:
    """The common key of all names of one submission in `Send`; None for other names."""
    match = SEND_NAME.fullmatch(name)
    return match[1].casefold() if match else None


def reported_campaign(name: str) -> str | None:
    """The common key of all delivery reports of one campaign, at any hour (R34)."""
    report = ReportName.parse(name)
    if report is None or report.kind is not ReportKind.ACK:
        return None
    return f"{report.service_id}-{report.campaign_id}".casefold()
