"""A run's plan, and the screener, renderer and rules that its campaign and settings configure.

What belongs here: the plan, and the objects that a campaign configures. What doesn't: the steps
themselves (`sms.run.screened`, `sms.run.rendered`), stores, the ledger.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from sms.audience.residence import Geography
from sms.audience.screening import Screener, Survey
from sms.campaign import stop_mentions
from sms.campaign.definition import Campaign
from sms.campaign.template import Template
from sms.columnar.values import ValueKind
from sms.message.rendering import MESSAGES_SCHEMA, VARIANT, WAY, Renderer
from sms.message.variants import Assignment, ControlGroup, Texts, VariantRenderer
from sms.run.schedule import Schedule
from sms.settings import Settings
from sms.wire import inspection, send_file
from sms.wire.names import SubmissionName
from sms.yaml_files import DocumentFault

# Types that the cells of an untyped source may have by chance.
GUESSED = (ValueKind.INTEGER, ValueKind.DECIMAL, ValueKind.DATE, ValueKind.TIMESTAMP)


class Plan(BaseModel):
    """The plan of a run, fixed before anything is read; the later stages follow it."""

    model_config = ConfigDict(frozen=True)

    run_key: str
    campaign: Campaign
    campaign_id: str
    service_id: str
    send_at: datetime
    slot_reason: str
    at_once: bool
    dry_run: bool
    limit: int | None
    planned_at: datetime

    def stem(self, part: int, parts: int, send_at: datetime | None = None) -> str:
        """A part's name at the gateway; a single file has no suffix (R1).

        Without `send_at` a part has the plan's hour.
        """
        suffix = f"p{part:02d}" if parts > 1 else ""
        name = self.campaign_id + suffix
        return SubmissionName(self.service_id, send_at or self.send_at, name).stem

    def stems(self, schedule: Schedule) -> list[str]:
        """The names of a schedule's files."""
        files = schedule.files
        return [
            self.stem(number, len(files), each.send_at)
            for number, each in enumerate(files, start=1)
        ]


def texts(campaign: Campaign) -> dict[str, Template]:
    """The campaign's compiled texts by variant, or one by "". Raises BadCampaign."""
    return {name: Template(text, str(path)) for name, (path, text) in campaign.texts.items()}


def template(campaign: Campaign) -> Template | Texts:
    """The campaign's text, compiled, or its variants' texts. Raises BadCampaign."""
    compiled = texts(campaign)
    return Texts(compiled) if campaign.variants else compiled[""]


def notes(campaign: Campaign) -> tuple[DocumentFault, ...]:
    """Warnings of likely mistakes in the campaign's texts."""
    doubled = (
        note
        for text in texts(campaign).values()
        for note in stop_mentions.doubled(text, campaign.stop_mention)
    )
    return (*template(campaign).notes, *doubled)


def screener(
    campaign: Campaign, text: Template | Texts, query: Any = None, *, unicode: bool = False
) -> Screener:
    """The screener that the campaign configures; `query` names the source in errors.

    `unicode` is that of the settings.
    """
    geography = Geography.of(campaign)
    return Screener(
        columns=text.columns,
        computed=text.computed,
        needed=text.needed,
        allowed_countries=campaign.allowed_countries,
        national_numbers=campaign.national_numbers,
        key=campaign.key,
        msisdn=campaign.msisdn,
        postcode=campaign.postcode if geography.by_postcode else None,
        lacks_postcode=geography.lacks_postcode,
        geography=geography,
        control_group=ControlGroup(campaign.name, campaign.control_share)
        if campaign.control_share
        else None,
        unicode=unicode,
        query=str(query or campaign.sql_path),
        text=text.path,
    )


def typed(text: Template | Texts, survey: Survey) -> Survey:
    """The survey with the column types that the text needs, if the source has no types.

    A column of whole numbers may hold codes: it becomes text if the template uses it as text.
    Raises BadCampaign for the first expression that fails on the columns' types.
    """
    kinds = dict(survey.kinds)
    broken = text.broken_by(kinds)
    guessed = [name for name in survey.screener.computed if kinds.get(name) in GUESSED]
    for name in guessed if survey.screener.untyped and broken else ():
        as_text = kinds | {name: ValueKind.TEXT}
        left = text.broken_by(as_text)
        if len(left) < len(broken):
            kinds, broken = as_text, left
    for error in broken:
        raise error
    return replace(survey, kinds=kinds)


def renderer(
    campaign: Campaign, campaign_id: str, text: Template | Texts, settings: Settings
) -> Renderer | VariantRenderer:
    """The renderer of the campaign's messages. Raises BadCampaign for a text that never fits."""
    each = renderers(campaign, campaign_id, text, settings)
    if isinstance(text, Template):
        return each[""]
    return VariantRenderer(Assignment(campaign.name, campaign.weights), each)


def renderers(
    campaign: Campaign, campaign_id: str, text: Template | Texts, settings: Settings
) -> dict[str, Renderer]:
    """The renderer of each variant; without variants one, by ""."""
    by_variant = {"": text} if isinstance(text, Template) else text.by_variant
    return {
        name: Renderer(
            template=one,
            sender=campaign.sender,
            campaign_id=campaign_id,
            stop_mention=campaign.stop_mention,
            long_sms=settings.long_sms,
            unicode=settings.unicode,
            unsupported=campaign.unsupported_characters,
            delimiter_in_text=settings.delimiter_in_text,
            encoding=settings.encoding,
        )
        for name, one in by_variant.items()
    }


def messages_schema(campaign: Campaign) -> pa.Schema:
    """The columns of the campaign's messages."""
    schema = MESSAGES_SCHEMA.append(VARIANT) if campaign.variants else MESSAGES_SCHEMA
    return schema.append(WAY) if template(campaign).conditions else schema


def dialect(settings: Settings) -> send_file.Dialect:
    """The CSV dialect of the gateway's files."""
    return send_file.Dialect(settings.encoding, settings.delimiter_in_text)


def rules(settings: Settings) -> inspection.Rules:
    """The rules of the account: long SMS and Unicode allowed or not."""
    return inspection.Rules(long_sms=settings.long_sms, unicode=settings.unicode)
