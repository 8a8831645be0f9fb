"""A campaign's folder: campaign.yaml, recipients.sql and message.txt, read and checked.

With `variants`, each variant has its own text file instead of message.txt. Every fault has its
file and line. Airflow parses every folder again and again, so this module does not import pandas,
pyarrow or the code that uses a campaign.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import time, timedelta
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped]
from croniter import CroniterError as BadCron
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sms import yaml_files
from sms.campaign import folder as folders
from sms.campaign import template
from sms.errors import BadCampaign
from sms.settings import CLOSES, OPENS, Duration
from sms.words import duration, shown
from sms.yaml_files import DocumentFault

YAML_FILE, SQL_FILE, TEXT_FILE = "campaign.yaml", "recipients.sql", "message.txt"
# A text of ten SMS has 1,530 characters; the largest file is checked within half a second.
MOST_BYTES, MOST_SQL = 64 * 1024, 1024 * 1024

NAME = re.compile(r"[a-z0-9_]{1,64}")
SENDER = re.compile(r"[A-Za-z0-9]{1,11}")  # R18
INTERNATIONAL = re.compile(r"\+[1-9]\d{7,14}")  # E.164 (R17)
HOUR = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
PAGE = re.compile(r"https?://\S+", re.IGNORECASE)
MISSING_DIGITS = re.compile(r"\d[x#?_*…]|\d\.\.", re.IGNORECASE)  # "36xxx"
STOP_CODE = re.compile(r"(?<!\bnon[ -])\bstop\b.*\d{5}", re.IGNORECASE)
TEMPLATE = re.compile(r"[{}]|%[A-Z]\w*%")
PERCENT = re.compile(r"(\d{1,9}(?:\.\d{1,4})?) ?%")  # a plan stores shares in this form too
VARIANT = re.compile(r"[a-z0-9_]{1,32}")
UNSTORABLE = re.compile(r"[\x00-\x08\x0e-\x1f]")  # PostgreSQL can't store a DAG with NUL
VARIANT_TEXT = re.compile(r"[\w-][\w.-]*\.txt", re.ASCII)
SO_OFTEN = re.compile(r"(\d{1,3}) per (\d{1,3}) days?")
ALL = 1_000_000  # shares are counted in millionths: four decimals of a percent
MOST_VARIANTS = 10
# Countries whose numbers can't be distinguished from another country's; "" for no numbers.
NUMBERS_OF = {
    **{"BL": "GP", "MF": "GP", "AX": "FI", "CC": "AU", "CX": "AU", "EH": "MA"},
    **{"SJ": "NO", "VA": "IT", "TA": "", "TK": ""},
}
VARIANTS_KEY = re.compile(r"^variants\s*:", re.MULTILINE)
EVERY_CAMPAIGN = "every campaign has one"
CRON_NAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
LONGEST_SCHEDULE = 100  # Airflow stores its description, of at most 1,000 characters
RANDOM_TIME = re.compile(r"\b[rR]\b")  # croniter's random value, with or without a range
MAX_PER_FILE = 1_000_000  # R1
LONGEST_DAY = timedelta(hours=CLOSES.hour - OPENS.hour)

# Without i, l and o, which look like digits, and p, which begins a part's suffix ("p01").
DIGEST_ALPHABET = "0123456789abcdefghjkmnqrstuvwxyz"
SLUG_LENGTH, DIGEST_LENGTH = 8, 8  # 16 of the 20 that R25 allows; four remain for a part


class Kind(StrEnum):
    """A campaign's legal kind: only marketing is bound to the open hours (R5)."""

    MARKETING = "marketing"
    TRANSACTIONAL = "transactional"


def _share(written: object) -> object:
    """A share such as "50%", as a fraction."""
    match = PERCENT.fullmatch(str(written).strip())
    if not match:
        raise ValueError(
            f"{written!r} is no share: write a percentage, such as 50%, or 12.5% with a point and "
            "four decimals at most"
        )
    return float(match[1]) / 100


def _part(share: float) -> float:
    if share > 1:
        raise ValueError(f"{share:.0%} is more than all: write 100% or less")
    return share


def _below_all(share: float) -> float:
    if share >= 1:
        raise ValueError(f"with {share:.0%} there are no recipients: write less than 100%")
    return share


def _above_nothing(share: float) -> float:
    if not share:
        raise ValueError("with 0% it has no recipients: leave the variant out")
    return share


def _variant_name(name: str) -> str:
    if not VARIANT.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a variant: small letters without accents, digits and _ "
            "only, at most 32"
        )
    return name


def _at_most(written: object) -> object:
    """A frequency such as "2 per 7 days", as (times, days)."""
    if isinstance(written, tuple | list):
        return tuple(written)
    match = SO_OFTEN.fullmatch(str(written).strip())
    if not match or not (int(match[1]) and int(match[2])):
        raise ValueError(
            f"{written!r} is no frequency: write how often in how many days, such as `2 per 7 days`"
        )
    return int(match[1]), int(match[2])


def _approval(written: object) -> object:
    """The least number of recipients that needs an approval: 1 for always, 0 for never."""
    if written == "never":
        return 0
    if written == "always":
        return 1
    if isinstance(written, int) and not isinstance(written, bool):
        return written
    above = written.get("above") if isinstance(written, Mapping) and len(written) == 1 else None
    if isinstance(above, bool) or not isinstance(above, int) or above < 1:
        raise ValueError(
            f"{written!r} is no approval: write `always`, `never`, or `{{above: 10000}}` for "
            "runs with more recipients than that"
        )
    return above + 1


def _whole_minutes(span: timedelta) -> timedelta:
    if span < timedelta(minutes=1) or span % timedelta(minutes=1):
        raise ValueError(f"{span} is no whole number of minutes, as a file's name needs")
    return span


def _proof_number(written: str) -> str:
    number = re.sub(r"[ .-]", "", written)
    if not INTERNATIONAL.fullmatch(number):
        raise ValueError(
            "holds something that is no number: write each in international form and in quotes, "
            'such as "+33639980001"'
        )
    return number


def _counted(limit: tuple[int, int]) -> tuple[int, int]:
    if not all(1 <= number <= 999 for number in limit):
        raise ValueError(f"{limit} is no frequency: write it as `2 per 7 days`, 999 at most")
    return limit


Approval = Annotated[int, BeforeValidator(_approval)]
Share = Annotated[float, BeforeValidator(_share), PlainSerializer(lambda share: f"{share:.4%}")]
AtMost = Annotated[  # times, days
    tuple[int, int], BeforeValidator(_at_most), AfterValidator(_counted)
]
Minutes = Annotated[
    Duration,
    AfterValidator(_whole_minutes),
    PlainSerializer(lambda span: f"{span // timedelta(minutes=1)} minutes"),
]


# The keys of limits, in the order in which they are shown.
LIMITS = (
    *("max_recipients", "min_recipients", "max_growth", "max_invalid_share"),
    *("max_segments", "budget", "frequency_cap", "suppress_after_failures"),
)


def _limit_text(key: str, limit: float | tuple[int, int]) -> str:
    if isinstance(limit, tuple):
        times, days = limit
        return f"{times} per {days} day{'s' if days > 1 else ''}"
    if key in ("max_growth", "max_invalid_share"):
        return f"{limit * 100:g}%"
    return f"{limit:,.2f}" if key == "budget" else f"{limit:,}"


class Variant(BaseModel):
    """One of the texts that a campaign compares, and its share of the recipients."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Annotated[str, Field(description="write the file of its text, such as message_warm.txt")]
    weight: Annotated[Share, AfterValidator(_above_nothing)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _keys_of_its_own(cls, written: object) -> object:
        if not isinstance(written, Mapping):
            raise ValueError(
                f"{written!r} is no variant: write {{text: message_warm.txt, weight: 50%}}"
            )
        return written

    @field_validator("text")
    @classmethod
    def _a_file_of_the_folder(cls, text: str) -> str:
        if not VARIANT_TEXT.fullmatch(text):
            raise ValueError(
                f"{text!r} is no text in the campaign's folder: write a file's name that ends in "
                ".txt, such as message_warm.txt"
            )
        return text


VariantName = Annotated[str, AfterValidator(_variant_name)]


def _millionths(share: float) -> int:
    """A share in millionths, which can be summed and compared exactly."""
    return round(share * ALL)


class CampaignFile(BaseModel):
    """The keys of campaign.yaml. A validator reads the fields above its own, hence the order."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    description: str = ""
    owner: Annotated[str, Field(min_length=1, max_length=100)] = "sms"
    sender: Annotated[
        str,
        Field(description="write who the message is from, at most 11 letters or digits (R18)"),
    ]
    schedule: str | None = None
    send_at: str | None = None
    stop_mention: str | None = None
    kind: Annotated[
        Kind,
        Field(description="write `kind: marketing`, or `kind: transactional` for a service"),
    ]
    outside_window: Literal["shift", "fail"] = "shift"
    past_closing: Literal["refuse", "split"] = "refuse"
    spread_over: Minutes | None = None
    spread_every: Minutes | None = None
    postcode: Annotated[str, Field(min_length=1)] | None = None
    overseas: Literal["split", "exclude", "mainland"] = "split"
    alsace_moselle: Literal["warn", "close", "ignore"] = "warn"
    local_time: bool = False
    warehouse: Annotated[
        str,
        Field(pattern=r"^[\w.-]+$", description="the id of one of Airflow's connections"),
    ] = "sms_warehouse"
    key: Annotated[str, Field(min_length=1)] = "key"
    msisdn: Annotated[str, Field(min_length=1)] = "msisdn"
    allowed_countries: tuple[str, ...] = ("FR",)
    national_numbers: Literal["FR"] | None = None
    max_recipients_per_file: StrictInt = MAX_PER_FILE
    on_empty: Literal["fail", "skip"] = "fail"
    unsupported_characters: Literal["replace", "exclude", "refuse"] = "replace"
    max_recipients: Annotated[StrictInt, Field(ge=1)] | None = None
    min_recipients: Annotated[StrictInt, Field(ge=1)] | None = None
    max_growth: Share | None = None
    max_invalid_share: Annotated[Share, AfterValidator(_part)] | None = None
    max_segments: Annotated[StrictInt, Field(ge=1)] | None = None
    budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    frequency_cap: AtMost | None = None
    approval: Approval = 0
    proof_to: tuple[Annotated[str, AfterValidator(_proof_number)], ...] = ()
    suppress_after_failures: Annotated[StrictInt, Field(ge=1, le=20)] | None = None
    variants: dict[VariantName, Variant] = {}
    control_group: Annotated[Share, AfterValidator(_below_all)] | None = None
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()

    @property
    def limits(self) -> dict[str, str]:
        """The limits of the campaign, by key, as text."""
        limits = {key: getattr(self, key) for key in LIMITS}
        return {key: _limit_text(key, value) for key, value in limits.items() if value is not None}

    @field_validator("sender")
    @classmethod
    def _a_sender_that_phones_show(cls, sender: str) -> str:
        if not SENDER.fullmatch(sender):
            raise ValueError(
                f"{sender!r} is no sender: at most 11 letters or digits, without accents, "
                "spaces or punctuation (R18)"
            )
        if sender.isdigit():
            raise ValueError(f"{sender!r} is no sender: it needs at least one letter (R18)")
        return sender

    @field_validator("schedule")
    @classmethod
    def _a_schedule_that_comes(cls, schedule: str | None) -> str | None:
        if schedule is None or schedule in CRON_NAMES:
            return schedule
        if len(schedule) > LONGEST_SCHEDULE:
            raise ValueError(
                f"{schedule!r} is longer than {LONGEST_SCHEDULE} characters: write ranges and "
                "steps, such as */15"
            )
        if len(schedule.split()) != 5:
            raise ValueError(
                f"{schedule!r} is no cron schedule: five fields, minute hour day month weekday, "
                'such as "0 9 * * 1-5" for weekdays at 09:00, Paris time; '
                "leave it out to start the campaign by hand"
            )
        if RANDOM_TIME.search(schedule):
            raise ValueError(
                f"{schedule!r} holds R, which is another time at each reading: write an hour"
            )
        try:
            croniter(schedule).get_next()
        except CroniterBadDateError as error:
            raise ValueError(f"{schedule!r} never comes: no such day exists") from error
        except BadCron as error:
            raise ValueError(f"{schedule!r} is no cron schedule: {error}") from error
        return schedule

    @field_validator("send_at")
    @classmethod
    def _an_hour_that_comes_once_a_day(cls, send_at: str | None) -> str | None:
        if send_at is None:
            return None
        if not HOUR.fullmatch(send_at):
            raise ValueError(f'{send_at!r} is no hour: write "HH:MM", Paris time, such as "10:30"')
        if send_at.startswith("02:"):
            raise ValueError(
                f"{send_at!r} is in the hour that one night of the year skips and another "
                "repeats: choose one outside 02:00-03:00 (R25)"
            )
        return send_at

    @field_validator("stop_mention")
    @classmethod
    def _a_mention_that_works(cls, mention: str | None) -> str | None:
        if mention is None:
            return None
        if MISSING_DIGITS.search(PAGE.sub("", mention)):
            raise ValueError(
                f"{mention!r} still has a placeholder for digits: write the short code that the "
                "provider gave you"
            )
        if TEMPLATE.search(mention):
            raise ValueError(
                f"{mention!r} is sent unchanged, brackets included: write the words and the code "
                "themselves"
            )
        shown = STOP_CODE.search(mention) or PAGE.search(mention)
        if not shown or not mention.isprintable() or len(mention) > 60:
            raise ValueError(
                f"{mention!r} does not say how to opt out: write one short line such as "
                '"STOP 36180", with the short code that the provider gave you'
            )
        return mention.strip()

    @field_validator("kind")
    @classmethod
    def _marketing_says_how_to_refuse(cls, kind: Kind, info: ValidationInfo) -> Kind:
        if kind is Kind.MARKETING and info.data.get("stop_mention", "") is None:
            raise ValueError(
                'marketing needs a stop_mention: write `stop_mention: "STOP 36180"`, with the '
                "short code that the provider gave you"
            )
        return kind

    @field_validator("outside_window")
    @classmethod
    def _an_hour_that_can_be(cls, outside: str, info: ValidationInfo) -> str:
        send_at = info.data.get("send_at")
        if outside == "fail" and info.data.get("kind") is Kind.MARKETING and send_at:
            if OPENS <= time.fromisoformat(send_at) < CLOSES:
                return outside
            raise ValueError(
                f"with `fail`, no run can ever send at {send_at}, as marketing is closed "
                f"then: choose an hour in {OPENS:%H:%M}-{CLOSES:%H:%M}, or write `shift`"
            )
        return outside

    @field_validator("spread_over")
    @classmethod
    def _a_spread_that_fits_a_day(cls, over: timedelta | None) -> timedelta | None:
        if over and over > LONGEST_DAY:
            day = duration(LONGEST_DAY)
            raise ValueError(f"{duration(over)} is longer than a day of marketing ({day})")
        return over

    @field_validator("spread_every")
    @classmethod
    def _steps_within_the_spread(
        cls, every: timedelta | None, info: ValidationInfo
    ) -> timedelta | None:
        over = info.data.get("spread_over")
        if every and not over:
            raise ValueError("is the step of spread_over, which is missing: write both")
        if every and over and every > over:
            raise ValueError(f"{duration(every)} is longer than spread_over ({duration(over)})")
        return every

    @field_validator("local_time")
    @classmethod
    def _local_time_is_marketings(cls, local_time: bool, info: ValidationInfo) -> bool:
        if local_time and info.data.get("kind") is Kind.TRANSACTIONAL:
            raise ValueError(
                "keeps to the local hours of marketing: a transactional campaign goes to all "
                "recipients at once"
            )
        return local_time

    @field_validator("proof_to")
    @classmethod
    def _each_number_once(cls, numbers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(numbers))

    @field_validator("allowed_countries")
    @classmethod
    def _countries_that_exist(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        if not countries:
            raise ValueError("names no country, so there are no recipients: write [FR]")
        # Not imported for the default ("FR",): Airflow parses all campaigns twice a minute.
        for country in countries if set(countries) != {"FR"} else ():
            from phonenumbers import SUPPORTED_REGIONS

            if country not in SUPPORTED_REGIONS:
                near = {"UK": "GB", "EN": "GB"}.get(country.upper(), country.upper())
                hint = f", did you mean {near}?" if near in SUPPORTED_REGIONS else ""
                raise ValueError(
                    f"{country!r} is no country's code (two capital letters, ISO 3166){hint}"
                )
            if country in NUMBERS_OF:
                owner = NUMBERS_OF[country]
                problem = f"its mobile numbers are read as those of {owner}: write {owner}"
                raise ValueError(
                    f"with {country!r} no number would be matched: "
                    + (problem if owner else "it has no mobile numbers: leave it out")
                )
        return tuple(dict.fromkeys(countries))

    @field_validator("min_recipients")
    @classmethod
    def _limits_that_leave_room(cls, least: int | None, info: ValidationInfo) -> int | None:
        most = info.data.get("max_recipients")
        if least and most and least > most:
            raise ValueError(f"{least} is more than max_recipients ({most}): no run can be sent")
        return least

    @field_validator("variants", mode="before")
    @classmethod
    def _variants_by_name(cls, written: object) -> object:
        if not isinstance(written, Mapping):
            raise ValueError(
                "must name each variant and its text, such as `warm: {text: message_warm.txt}`"
            )
        return written

    @field_validator("variants")
    @classmethod
    def _variants_to_compare(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        if not variants:
            return variants
        if not 2 <= len(variants) <= MOST_VARIANTS:
            raise ValueError(f"there are {len(variants)} of them: write 2 to {MOST_VARIANTS}")
        files: dict[str, str] = {}
        for name, variant in variants.items():
            other = files.setdefault(variant.text, name)
            if other != name:
                raise ValueError(f"{other} and {name} have one text, {variant.text}: write another")
        weights = [variant.weight for variant in variants.values() if variant.weight is not None]
        if weights and len(weights) < len(variants):
            raise ValueError("write a weight for each of them, or for none: they are equal then")
        if weights and (total := sum(map(_millionths, weights))) != ALL:
            raise ValueError(
                f"the weights sum to {total * 100 / ALL:.7g}%: change them to sum to 100%, or "
                "leave all of them out for equal shares"
            )
        return variants

    @field_validator("max_recipients_per_file")
    @classmethod
    def _a_file_that_the_gateway_takes(cls, maximum: int) -> int:
        if not 1 <= maximum <= MAX_PER_FILE:
            raise ValueError(f"{maximum} is not between 1 and {MAX_PER_FILE} recipients (R1)")
        return maximum


class Campaign(CampaignFile):
    """A valid campaign: its settings, query and text, and its folder."""

    name: str
    folder: Path
    sql: str
    text: str = ""  # "" if each variant has its own
    variant_texts: dict[str, str] = {}

    @property
    def sql_path(self) -> Path:
        """The path of the query."""
        return self.folder / SQL_FILE

    @property
    def text_path(self) -> Path:
        """The path of the text; with variants, the folder of their texts."""
        return self.folder if self.variants else self.folder / TEXT_FILE

    @property
    def texts(self) -> dict[str, tuple[Path, str]]:
        """Each variant's text file and text; without variants the one text, under ""."""
        if not self.variants:
            return {"": (self.text_path, self.text)}
        return {
            name: (self.folder / variant.text, self.variant_texts[name])
            for name, variant in self.variants.items()
        }

    @property
    def weights(self) -> dict[str, Fraction]:
        """Each variant's exact share of the recipients."""
        equal = Fraction(1, max(len(self.variants), 1))
        return {
            name: equal if variant.weight is None else Fraction(_millionths(variant.weight), ALL)
            for name, variant in self.variants.items()
        }

    @property
    def control_share(self) -> Fraction:
        """The exact share of recipients in the control group, who get no message."""
        return Fraction(_millionths(self.control_group or 0), ALL)


def load(folder: Path) -> Campaign:
    """Load the campaign in a folder. Raises BadCampaign with all of its faults.

    It raises no other exception: one would hide all campaigns from Airflow.
    """
    try:
        return _load(folder, folders.home(folder))
    except BadCampaign:
        raise
    except folders.Refused as error:
        raise BadCampaign(shown(str(folder)), None, str(error)) from error
    except OSError as error:
        raise _unreadable(folder, error) from error
    except Exception as error:
        problem = f"can't be read as a campaign ({type(error).__name__}): write it more simply"
        raise BadCampaign(shown(str(folder)), None, problem) from error


def _load(folder: Path, home: str) -> Campaign:
    faults: list[tuple[Path, DocumentFault]] = []
    if not NAME.fullmatch(folder.name):
        problem = "is no name for a campaign: small letters without accents, digits and _ only"
        faults.append((folder, DocumentFault(None, f"{folder.name!r} {problem}, at most 64")))

    yaml = _text(folder, home, YAML_FILE, faults)
    sql = _text(folder, home, SQL_FILE, faults, most=MOST_SQL)
    settings = None
    if yaml is not None:
        reading = yaml_files.read(yaml, CampaignFile)
        settings = reading.value
        faults += [(folder / YAML_FILE, fault) for fault in reading.faults]
    if sql is not None and not _has_query(sql):
        faults.append((folder / SQL_FILE, DocumentFault(None, "holds no query, only comments")))
    variants = {} if settings is None else settings.variants
    texts = {name: each.text for name, each in variants.items()} or {"": TEXT_FILE}
    if settings is None and VARIANTS_KEY.search(yaml or ""):
        texts = {}  # unreadable settings: the variants are unknown
    written = {
        name: _checked_text(folder, home, file, name, faults) for name, file in texts.items()
    }
    if variants and TEXT_FILE not in texts.values() and os.path.lexists(folder / TEXT_FILE):
        problem = "is not used beside variants: name it as the text of one, or delete it"
        faults.append((folder / TEXT_FILE, DocumentFault(None, problem)))
    texts_of_variants = {name: text for name, text in written.items() if text is not None}
    if faults or settings is None or sql is None:
        raise _bad(folder, faults)
    return Campaign(
        **settings.model_dump(),
        name=folder.name,
        folder=folder,
        sql=sql,
        text=texts_of_variants.pop("", ""),
        variant_texts=texts_of_variants,
    )


def load_all(root: Path, only: str | None = None) -> tuple[list[Campaign], list[BadCampaign]]:
    """Load every campaign below `root`, by name, and the errors of unusable folders.

    With `only`, load that campaign alone: a task needs no other, and there may be hundreds.
    """
    try:
        names = sorted(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        return [], [BadCampaign(str(root), None, "is no folder, so there are no campaigns")]
    except OSError as error:
        return [], [_unreadable(root, error)]
    campaigns, broken = [], []
    for name in names:
        if name.startswith((".", "__")) or only not in (None, name):
            continue
        try:
            if _is_folder(root / name):
                campaigns.append(load(root / name))
        except BadCampaign as error:
            broken.append(error)
    return campaigns, broken


def _is_folder(path: Path) -> bool:
    try:
        return folders.is_folder(path)
    except folders.Refused as error:
        raise BadCampaign(shown(str(path)), None, str(error)) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BadCampaign:
    problem = f"can't be read ({error.strerror}): let Airflow's user read it, or remove it"
    if isinstance(error, FileNotFoundError):
        problem = "is no folder: put the campaign's folder there"
    return BadCampaign(shown(str(path)), None, problem)


def campaign_id(campaign_name: str, run_key: str, attempt: int = 1) -> str:
    """The CAMPAIGNID of one run: at most 16 letters or digits, the same for the same run (R25)."""
    slug = re.sub(r"[^a-z0-9]", "", campaign_name.lower())[:SLUG_LENGTH]
    identity = "\0".join((campaign_name, run_key, str(attempt))).encode()
    bits = int.from_bytes(hashlib.sha256(identity).digest())
    digest = "".join(DIGEST_ALPHABET[bits >> 5 * place & 31] for place in range(DIGEST_LENGTH))
    return slug + digest


def _checked_text(
    folder: Path, home: str, file: str, variant: str, faults: list[tuple[Path, DocumentFault]]
) -> str | None:
    """A variant's text, or the campaign's for ""; None and a fault if it is unusable."""
    why = f"it is the text of the variant {variant}" if variant else EVERY_CAMPAIGN
    text = _text(folder, home, file, faults, why)
    if text is not None:
        faults += [(folder / file, fault) for fault in template.faults(text)]
    return text


def _text(
    folder: Path,
    home: str,
    name: str,
    faults: list[tuple[Path, DocumentFault]],
    why: str = EVERY_CAMPAIGN,
    most: int = MOST_BYTES,
) -> str | None:
    """The text of a file in the folder; None and a fault if it is unusable."""
    try:
        return _decoded(folders.read(home, name, most))
    except FileNotFoundError:
        fault = DocumentFault(None, f"is missing: {why}")
    except OSError as error:
        fault = DocumentFault(None, f"can't be read ({error.strerror})")
    except folders.Refused as error:
        fault = DocumentFault(None, str(error))
    except _NoText as error:
        fault = error.fault
    faults.append((folder / name, fault))
    return None


class _NoText(Exception):
    def __init__(self, line: int | None, problem: str) -> None:
        super().__init__(line, problem)
        self.fault = DocumentFault(line, problem)


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _NoText(line, "is not UTF-8: save it again in that encoding") from error
    if not text.strip():
        raise _NoText(None, "is empty")
    if control := UNSTORABLE.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise _NoText(line, f"holds the control character {control[0]!r}: take it away")
    return text


def _has_query(sql: str) -> bool:
    return bool(re.sub(r"--[^\n]*|/\*.*?(?:\*/|\Z)", "", sql, flags=re.DOTALL).strip(" \t\n;"))


def _bad(folder: Path, faults: list[tuple[Path, DocumentFault]]) -> BadCampaign:
    """One error for the whole folder: the first fault, with the others in `others`."""
    first_ones = (folder, folder / YAML_FILE, folder / SQL_FILE)
    faults.sort(key=lambda fault: first_ones.index(fault[0]) if fault[0] in first_ones else 3)
    (path, first), *others = faults
    if (more := len(others) - yaml_files.MOST_FAULTS) > 0:
        problem = f"has {more} more faults: correct these first"
        others = [*others[: yaml_files.MOST_FAULTS], (folder, DocumentFault(None, problem))]
    beside = tuple(
        BadCampaign(shown(str(where)), fault.line, fault.problem) for where, fault in others
    )
    return BadCampaign(shown(str(path)), first.line, first.problem, beside)
