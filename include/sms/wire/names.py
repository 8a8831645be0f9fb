"""Names of files at the gateway: ours in `Send`, the provider's in `Report` (R25, R27, R30-R34).

A stem is fixed for life, only its extension moves. French wall time appears here because the
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
# In any case, but of ASCII alone: to others a long s and the sign of Kelvin are letters of a name.
ANY_CASE = re.IGNORECASE | re.ASCII
SEND_NAME = re.compile(rf"({STEM.pattern})(?:\.csv)?\.(tmp|csv|lock|done|reject)", ANY_CASE)
DRAFT_NAME = re.compile(rf"({STEM.pattern})\.[0-9a-f]{{8}}\.tmp", ANY_CASE)
REPORT_NAME = re.compile(
    r"(ACK|STOP|SMSMO)-([A-Za-z0-9]{5})-(\d{8})-(\d{2,6})-([A-Za-z0-9]{1,20})\.csv(\.gz)?",
    ANY_CASE,
)
# What begins like a report and is called otherwise, however the provider came to that.
LIKE_REPORT = re.compile(r"[^A-Za-z0-9]*(ACK|STOP|SMSMO)(?![A-Za-z])", ANY_CASE)


class Phase(StrEnum):
    """How far a file has come at the gateway, by its extension (spec, *File processing*)."""

    TMP = "tmp"
    CSV = "csv"
    LOCK = "lock"
    DONE = "done"
    REJECT = "reject"


ARRIVED = frozenset({Phase.CSV, Phase.LOCK, Phase.DONE, Phase.REJECT})


class ReportKind(StrEnum):
    """What a report tells: deliveries, opt-outs, or replies."""

    ACK = "ACK"
    STOP = "STOP"
    SMSMO = "SMSMO"


@dataclass(frozen=True, slots=True)
class SubmissionName:
    """The name a file keeps for life at the gateway; only its extension moves."""

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
        """The whole file name at a phase; `.tmp` replaces `.csv`, it is not added to it (R27)."""
        return f"{self.stem}.{phase}"


def draft_name(stem: str, token: str) -> str:
    """What one try calls its upload until it is whole; no two tries write the same file."""
    return f"{stem}.{hashlib.sha256(token.encode()).hexdigest()[:8]}.{Phase.TMP}"


def is_draft(name: str, stem: str) -> bool:
    """Whether a name in `Send` is some try's upload of `stem` under way."""
    match = DRAFT_NAME.fullmatch(name)
    return match is not None and match[1].casefold() == stem.casefold()


def stem_of(name: str) -> str | None:
    """The stem of a file in `Send` or of an upload under way; None for any other name."""
    match = SEND_NAME.fullmatch(name) or DRAFT_NAME.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class ReportName:
    """A report's name: whose it is, and which file's."""

    kind: ReportKind
    service_id: str
    date_hour: str
    campaign_id: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.service_id}-{self.date_hour}-{self.campaign_id}.csv"

    @property
    def stem(self) -> str:
        """The stem of the file reported on, if the provider kept its hour (R34)."""
        return f"SEND-{self.service_id}-{self.date_hour}-{self.campaign_id}"

    @classmethod
    def parse(cls, name: str) -> "ReportName | None":
        """The report that `name` announces; None for any other file."""
        match = REPORT_NAME.fullmatch(name)
        if not match:
            return None
        kind, service_id, date, hour, campaign_id, _ = match.groups()
        return cls(ReportKind(kind.upper()), service_id, f"{date}-{hour}", campaign_id)


def reports_on(name: str, stem: str) -> bool:
    """Whether a file is a report on the file of this very stem."""
    report = ReportName.parse(name)
    return report is not None and report.stem.casefold() == stem.casefold()


def is_compressed(name: str) -> bool:
    """Whether a report's name says that gzip has packed it."""
    return name.lower().endswith(".gz")


def misnamed_report(name: str) -> ReportKind | None:
    """The kind of report that a name seems to announce without being the name of one."""
    match = LIKE_REPORT.match(name)
    return ReportKind(match[1].upper()) if match and ReportName.parse(name) is None else None


def phase_of(name: str, stem: str) -> Phase | None:
    """The phase that a name in `Send` shows for `stem`; None if it is another file's.

    Both `stem.tmp` and `stem.csv.tmp` count, in any case: what the provider's page says and what
    its example shows differ (R27).
    """
    match = SEND_NAME.fullmatch(name)
    if not match or match[1].casefold() != stem.casefold():
        return None
    return Phase(match[match.lastindex or 0].lower())


def submitted_file(name: str) -> str | None:
    """What all names of one submission in `Send` have in common, and no others."""
    match = SEND_NAME.fullmatch(name)
    return match[1].casefold() if match else None


def reported_campaign(name: str) -> str | None:
    """What all delivery reports of one campaign have in common, whatever their hour (R34)."""
    report = ReportName.parse(name)
    if report is None or report.kind is not ReportKind.ACK:
        return None
    return f"{report.service_id}-{report.campaign_id}".casefold()
