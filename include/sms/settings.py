"""The operator's settings for all campaigns: include/settings.yaml, read and checked.

`SMS_SETTINGS` names another file. A key that the file leaves out keeps the default of this model;
settings.yaml lists and explains all defaults. Connections belong to Airflow, and what the provider
fixes is a constant beside its use: neither is a setting.
"""

import os
import re
from datetime import time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    ValidationInfo,
    field_validator,
)

from sms import yaml_files
from sms.errors import ConfigurationError

VARIABLE = "SMS_SETTINGS"
ROOT = Path(__file__).resolve().parents[2]  # the checkout, base of relative folders
DEFAULT_PATH = ROOT / "include" / "settings.yaml"

OPENS, CLOSES = time(8), time(22)  # marketing's hours by law, half-open (R5)
MAX_RECIPIENTS = 1_000_000  # in one file (R1)
MONTH = timedelta(days=31)  # spec, *Security*: what is older may be deleted at the gateway
UNREAD = timedelta(days=25)  # a report unread for so long is an alarm (R11)
DURATION = re.compile(r"(\d+) ?(second|minute|hour|day)s?")


def _duration(written: Any) -> Any:
    if isinstance(written, timedelta):
        return written
    match = DURATION.fullmatch(str(written).strip())
    if not match:
        raise ValueError(
            f"{written!r} is no duration: write a number and seconds, minutes, hours or days, "
            "such as `10 minutes`"
        )
    try:
        return timedelta(**{f"{match[2]}s": int(match[1])})
    except OverflowError as error:
        raise ValueError(f"{written!r} is longer than any calendar: write less") from error


def _hour(written: Any) -> Any:
    if isinstance(written, time):
        return written
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(written)):
        raise ValueError(f'{written!r} is no hour: write "HH:MM", such as "20:30"')
    return time.fromisoformat(str(written))


def _country(written: str) -> str:
    if written.isdigit():  # YAML reads {FR: 0,045} as the keys FR and 045
        raise ValueError("is no country's code: are decimals written with a comma? Write 0.045")
    if not re.fullmatch("[A-Z]{2}", written):
        raise ValueError(f"{written!r} is no country's code: write two capital letters, as FR")
    return written


def _url(written: str) -> str:
    """A folder as a URL; spaces stay unescaped, as fsspec reads file URLs."""
    if not written.strip():
        raise ValueError("names no folder: write a path or a URL such as s3://bucket/sms/runs")
    if "://" in written:
        return written.rstrip("/")
    return f"file://{(ROOT / written).as_posix()}"


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Hour = Annotated[time, BeforeValidator(_hour)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Country = Annotated[str, AfterValidator(_country)]  # ISO 3166
Price = Annotated[float, Field(ge=0)]
Folder = Annotated[str, AfterValidator(_url)]
ImportPath = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="a class by its import path, as airflow.providers.smtp.notifications.smtp."
        "SmtpNotifier",
    ),
]
Event = Literal["submitted", "accepted", "rejected", "unknown", "reported", "overdue"]


class Notify(BaseModel):
    """A notifier of Airflow, its arguments, and the events of a file that call it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: Annotated[tuple[Event, ...], Field(min_length=1)]
    notifier: ImportPath
    arguments: dict[str, Any] = Field(default_factory=dict)


class Settings(BaseModel):
    """All settings of the product; include/settings.yaml explains each."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    long_sms: bool = False
    unicode: bool = False
    encoding: Literal["utf-8", "iso-8859-1", "iso-8859-15", "windows-1252"] = "utf-8"

    delimiter_in_text: Literal["quote", "replace", "refuse"] = "quote"
    max_recipients_per_file: StrictInt = MAX_RECIPIENTS

    window_start: Hour = OPENS
    window_end: Hour = CLOSES
    max_delay: Duration = timedelta(minutes=10)
    max_audience_age: Duration = timedelta(hours=12)
    messages_per_hour: Annotated[StrictInt, Field(ge=1)] | None = None
    schedule_horizon: Duration = timedelta(days=25)

    upload_lead: Duration = timedelta(minutes=30)
    approval_timeout: Duration = timedelta(hours=4)
    claim_lease: Duration = timedelta(minutes=10)
    verdict_timeout: Duration = timedelta(hours=12)
    verdict_poll: Seconds = 15.0

    report_grace: Duration = timedelta(days=1)
    report_poll: Seconds = 300.0
    incomplete_report_retention: Duration = timedelta(days=7)
    close_after: Duration = timedelta(days=20)

    notify: tuple[Notify, ...] = ()

    currency: Annotated[
        str, Field(pattern=r"^[A-Z]{3}$", description="three capital letters (ISO 4217), as EUR")
    ] = "EUR"
    prices: dict[Country, Price] = Field(default_factory=dict)

    stop_list_minimum: Annotated[StrictInt, Field(ge=0)] = 0
    hash_stop_list: bool = False

    campaigns_folder: Path = Path("include/campaigns")
    runs_folder: Folder = "data/runs"
    archive_folder: Folder = "data/archive"

    run_retention: Duration = timedelta(days=90)
    archive_retention: Duration = timedelta(days=365)
    personal_data_retention: Duration = timedelta(days=3 * 365)

    @field_validator("campaigns_folder")
    @classmethod
    def _below_the_project(cls, folder: Path) -> Path:
        return ROOT / folder

    @field_validator("max_recipients_per_file")
    @classmethod
    def _a_file_that_the_gateway_takes(cls, maximum: int) -> int:
        if not 1 <= maximum <= MAX_RECIPIENTS:
            raise ValueError(
                f"{maximum} is not between 1 and {MAX_RECIPIENTS}, the most that the provider "
                "takes in one file (R1)"
            )
        return maximum

    @field_validator("close_after")
    @classmethod
    def _ends_before_the_alarm(cls, quiet: timedelta) -> timedelta:
        if not timedelta(days=5) <= quiet <= UNREAD:
            raise ValueError(
                f"{quiet.days} days is not between 5 and {UNREAD.days}: a delivery report may take "
                "four, and the provider deletes what is older than a month (R11)"
            )
        return quiet

    @field_validator("incomplete_report_retention")
    @classmethod
    def _ends_within_the_provider_s_month(cls, stays: timedelta) -> timedelta:
        if not timedelta(days=1) <= stays <= UNREAD:
            raise ValueError(
                f"{stays} is not between 1 day and {UNREAD.days} days: housekeeping looks once a "
                "day, and the provider deletes what is older than a month (R11)"
            )
        return stays

    @field_validator("run_retention", "archive_retention", "personal_data_retention")
    @classmethod
    def _outlives_the_provider_s_month(cls, kept: timedelta) -> timedelta:
        if kept < MONTH:
            raise ValueError(
                f"{kept.days} days is too short: the provider may report for {MONTH.days}, and "
                "until then all of it is needed"
            )
        return kept

    @field_validator("window_start")
    @classmethod
    def _opens_no_earlier_than_the_law(cls, start: time) -> time:
        if not OPENS <= start < CLOSES:
            raise ValueError(
                f"{start:%H:%M} is not in {OPENS:%H:%M}-{CLOSES:%H:%M}: the law opens marketing "
                f"at {OPENS:%H:%M}, you can only start later"
            )
        return start

    @field_validator("window_end")
    @classmethod
    def _closes_no_later_than_the_law(cls, end: time, info: ValidationInfo) -> time:
        if end > CLOSES:
            raise ValueError(
                f"{end:%H:%M} is too late: the law closes marketing at {CLOSES:%H:%M}, you can "
                "only end earlier"
            )
        if end <= info.data.get("window_start", OPENS):
            raise ValueError(f"{end:%H:%M} leaves no open hour: it must be after window_start")
        return end


def load(path: Path | None = None) -> Settings:
    """Read the settings from `path`, else from SMS_SETTINGS, else from the project's file."""
    path = path or Path(os.environ.get(VARIABLE) or DEFAULT_PATH)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the settings in {path} can't be read ({error}): correct or unset {VARIABLE}"
        ) from error
    reading = _read(text)
    if reading.value is None:
        raise ConfigurationError("; ".join(_sentence(path, fault) for fault in reading.faults))
    return reading.value.model_copy(deep=True)


@lru_cache(maxsize=4)
def _read(text: str) -> yaml_files.Document[Settings]:
    """The settings in a text. A task asks for them several times, and parsing takes 20 ms."""
    return yaml_files.read(text, Settings)


def _sentence(path: Path, fault: yaml_files.DocumentFault) -> str:
    where = str(path) if fault.line is None else f"{path}, line {fault.line}"
    return f"{where}: {fault.problem}"
