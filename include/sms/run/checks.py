"""Checks of a campaign against the operator's settings, before any row is read.

Faults of the campaign's folder alone are found where it is read (`sms.campaign`).
"""

import copy
from collections.abc import Iterator
from datetime import time
from pathlib import Path

import pyarrow.compute as pc

from sms import yaml_files
from sms.audience.screening import Reason
from sms.campaign import stop_mentions
from sms.campaign.definition import YAML_FILE, Campaign, Kind
from sms.campaign.template import Logic, Template
from sms.errors import BadCampaign, SourceError
from sms.run import offline, preparation
from sms.settings import Settings
from sms.telecom.gsm import MOST_PARTS


def faults(campaign: Campaign, settings: Settings) -> Iterator[BadCampaign]:
    """The faults for which no run of the campaign could be sent, with file and line."""
    yield from _unpriced(campaign, settings)
    yield from _closed(campaign, settings)
    reserved = list(_reserved(campaign))
    yield from reserved or _too_long(campaign, settings)


def needs(campaign: Campaign) -> list[str]:
    """The columns that the query must return. Only the warehouse shows whether it does."""
    text = preparation.template(campaign)
    asked = preparation.screener(campaign, text)
    own = [asked.key, asked.msisdn, *([asked.postcode] if asked.postcode else [])]
    return list(dict.fromkeys([*own, *text.columns]))


def notes(campaign: Campaign) -> Iterator[str]:
    """Warnings that are no faults, with file and line."""
    if problem := stop_mentions.unreached(campaign, campaign.allowed_countries):
        yield str(at_key("stop_mention", campaign, problem))
    for path, text in campaign.texts.values():
        compiled = Template(text)
        found = [*compiled.notes, *stop_mentions.doubled(compiled, campaign.stop_mention)]
        yield from (f"{path}, line {note.line}: {note.problem}" for note in found)
        if slow := compiled.slow_because:
            yield f"{path}, {slow}"


def _unpriced(campaign: Campaign, settings: Settings) -> Iterator[BadCampaign]:
    lacking = sorted(set(campaign.allowed_countries) - settings.prices.keys())
    if campaign.budget is not None and lacking:
        problem = (
            f"the budget can't be checked, as the settings' `prices` lack {', '.join(lacking)}: "
            "add the price of one SMS there, or remove the budget"
        )
        yield at_key("budget", campaign, problem)


def _closed(campaign: Campaign, settings: Settings) -> Iterator[BadCampaign]:
    if campaign.kind is not Kind.MARKETING or campaign.outside_window != "fail":
        return
    if not campaign.send_at:
        return
    if not settings.window_start <= time.fromisoformat(campaign.send_at) < settings.window_end:
        problem = (
            f"with `outside_window: fail`, no run can ever send at {campaign.send_at}, as the "
            f"settings open marketing in {settings.window_start:%H:%M}-{settings.window_end:%H:%M}"
            " only: choose an hour in it, or write `shift`"
        )
        yield at_key("send_at", campaign, problem)


def _too_long(campaign: Campaign, settings: Settings) -> Iterator[BadCampaign]:
    """A text that is too long for every recipient: a column counts as one letter, logic as none."""
    found = preparation.template(campaign)
    texts = {"": found} if isinstance(found, Template) else found.by_variant
    for name, text in texts.items():
        yield from _text_too_long(campaign, campaign.texts[name][0], text, settings)


def _reserved(campaign: Campaign) -> Iterator[BadCampaign]:
    """A text that uses a reserved column name."""
    text = preparation.template(campaign)
    try:
        preparation.screener(campaign, text)
    except SourceError as error:
        yield BadCampaign(str(text.path), None, str(error).removeprefix(f"{text.path} "))


def _text_too_long(
    campaign: Campaign, path: Path, text: Template, settings: Settings
) -> Iterator[BadCampaign]:
    shortest = copy.copy(text)
    shortest.pieces = tuple(piece for piece in text.pieces if not isinstance(piece, Logic))
    try:
        rendering = offline.rendering_of_sample(campaign, shortest, settings, lambda name: "x")
    except BadCampaign as error:
        yield error
        return
    if pc.any(pc.equal(rendering.excluded["reason"], Reason.TEXT_TOO_LONG)).as_py():
        what = "the text" if len(text.pieces) < 2 and text.words else "the fixed part of the text"
        mention = ", with the stop mention" if campaign.stop_mention else ""
        longer = (
            ""
            if settings.long_sms
            else (
                f", or have long SMS (up to {MOST_PARTS}) switched on for your account and say "
                "`long_sms: true` in the settings"
            )
        )
        [detail] = rendering.excluded["detail"].to_pylist()
        problem = f"{what} is too long{mention}, {detail}: shorten it{longer}"
        yield BadCampaign(str(path), None, problem)


def at_key(key: str, campaign: Campaign, problem: str) -> BadCampaign:
    """A fault of a key of campaign.yaml, at its line if the key is there."""
    return BadCampaign(*place_of(key, campaign), f"{key}: {problem}")


def place_of(key: str, campaign: Campaign) -> tuple[str, int | None]:
    """The path of campaign.yaml, and the line of a key if it is there."""
    path = campaign.folder / YAML_FILE
    return str(path), yaml_files.line_of(key, path.read_text(encoding="utf-8-sig"))
