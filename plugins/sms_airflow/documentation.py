"""What a campaign's DAG says about itself in the Airflow UI."""

import re
from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction

from sms.campaign.definition import Campaign, Kind
from sms.settings import Settings

MINUTE = timedelta(minutes=1)
MARKS = re.compile(r"[\\`*_\[\]<>|#~$&]")  # what Markdown would read as its own

STAGES = """
| task | what it does | may it run again? |
|---|---|---|
| `plan` | fixes the hour and the file's name in the ledger | yes, until the upload begins |
| `extract` | streams the query's rows out of the warehouse | yes, until the upload begins |
| `screen` | normalises numbers, drops duplicates and everyone who said STOP | likewise |
| `render` | writes each text, counts segments, makes the exact bytes | likewise |
| `review` | checks the bytes, writes the report; a dry run ends here | likewise |
| `approve` | asks a person, where the campaign wants a yes | always |
| `await_hour` | waits until shortly before the hour; the run can still be called off | always |
| `fetch_stops` | brings home the STOPs that lie at the gateway | always |
| `submit` | uploads all as `.tmp`, renames one by one, waits for each `.done` | always, it looks |
| `schedule_collection` | books the run that fetches the delivery report when it is due | always |
| `summarize` | says what was sent; fails with any file before it | always |

Right before each rename the stop list is read again; a `.reject` fails at once and holds what
follows. From the moment a file is being uploaded, clearing earlier tasks changes nothing: what was
sent stays on record. To send again, trigger a new run.
"""


def campaign_page(campaign: Campaign, settings: Settings) -> str:
    """Markdown: the facts of a campaign, where it comes from, and what each task does."""
    rest = {
        "Schedule": f"`{campaign.schedule}` (Paris time)" if campaign.schedule else "by hand",
        "Warehouse": f"connection `{campaign.warehouse}`",
        "Folder": f"`include/campaigns/{campaign.name}`",
    }
    return facts(campaign, settings) + _rows(rest) + STAGES


def facts(campaign: Campaign, settings: Settings) -> str:
    """A table in Markdown: what a campaign says and keeps to, for who is about to start it."""
    told = {
        **_texts(campaign),
        "Stop&nbsp;mention": campaign.stop_mention or "none",
        "Sender": campaign.sender,
        "Kind": _kind(campaign, settings),
        "Hour": _hour(campaign),
        "Approval": _asked(campaign),
        "Limits": _limits(campaign, settings),
        "Countries": ", ".join(campaign.allowed_countries),
    }
    head = _verbatim(campaign.description or campaign.name)
    return f"| Campaign | {head} |\n|---|---|\n{_rows(told)}"


def _texts(campaign: Campaign) -> Mapping[str, str]:
    """What phones show, by variant where there are several, and who is kept to compare with."""
    told = {
        f"Text `{name}`, {_share(campaign.weights[name])}" if name else "Text": _verbatim(text)
        for name, (_, text) in campaign.texts.items()
    }
    if campaign.control_share:
        told["Control group"] = f"{_share(campaign.control_share)} of the people are not written to"
    return told


def _share(share: Fraction) -> str:
    return f"{float(share) * 100:g}%"


def _rows(told: Mapping[str, str]) -> str:
    return "".join(f"| {name} | {value} |\n" for name, value in told.items())


def _verbatim(text: str) -> str:
    """People's words in a cell of a table, as they wrote them; a new line is a sign."""
    escaped = MARKS.sub(r"\\\g<0>", text.strip())
    return " ↵ ".join(line for line in escaped.splitlines() if line)


def _kind(campaign: Campaign, settings: Settings) -> str:
    if campaign.kind is Kind.TRANSACTIONAL:
        return "transactional: at any hour"
    hours = f"{settings.window_start:%H:%M}-{settings.window_end:%H:%M}"
    return f"marketing: {hours} Paris time, no Sunday, no bank holiday"


def _hour(campaign: Campaign) -> str:
    hour = f"{campaign.send_at} Paris time" if campaign.send_at else "as soon as allowed"
    if campaign.spread_over:
        hour += f", spread over {campaign.spread_over // MINUTE} minutes"
    if campaign.local_time:
        hour += ", overseas by the clocks there"
    if campaign.kind is Kind.TRANSACTIONAL:
        return hour
    moved = {"shift": "moves to the next open one", "fail": "is refused"}[campaign.outside_window]
    return f"{hour}; a closed one {moved}"


def _asked(campaign: Campaign) -> str:
    least, numbers = campaign.approval, len(campaign.proof_to)
    proof = f"; a proof goes to {numbers} of our own numbers before" if numbers else ""
    if not least:
        return f"nobody is asked{proof}"
    asked = "always" if least == 1 else f"for more than {least - 1:,} recipients"
    return f"a person must say yes, {asked}{proof}"


def _limits(campaign: Campaign, settings: Settings) -> str:
    units = {"budget": f" {settings.currency}"}
    told = [f"`{key}` {value}{units.get(key, '')}" for key, value in campaign.limits.items()]
    return ", ".join(told) or "none of its own"
