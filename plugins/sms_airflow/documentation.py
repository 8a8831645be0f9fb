"""The documentation of a campaign's DAG in the Airflow UI."""

import re
from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction

from sms.campaign.definition import Campaign, Kind
from sms.settings import Settings
from sms.words import count

MINUTE = timedelta(minutes=1)
MARKS = re.compile(r"[\\`*_\[\]<>|#~$&]")  # characters with a meaning in Markdown

STAGES = """
| task | what it does | may it run again? |
|---|---|---|
| `plan` | fixes the hour and the file's name in the ledger | yes, until the upload begins |
| `extract` | streams the query's rows out of the warehouse | yes, until the upload begins |
| `screen` | normalises numbers, drops duplicates and opt-outs | likewise |
| `render` | renders each text, counts segments, writes the exact bytes | likewise |
| `review` | checks the bytes, writes the report; a dry run ends here | likewise |
| `approve` | waits for an approval, if the campaign requires one | always |
| `await_hour` | waits until shortly before the hour; the run can still be called off | always |
| `fetch_stops` | downloads pending STOP reports | always |
| `submit` | uploads all as `.tmp`, renames one by one, waits for each `.done` | always: it checks |
| `schedule_collection` | schedules the collection of the delivery report | always |
| `summarize` | lists what was sent; fails if a file before it failed | always |

Right before each rename the stop list is read again. A `.reject` fails at once and stops the files
that follow. Once an upload has begun, clearing earlier tasks changes nothing: the sent files stay
on record. To send again, trigger a new run.
"""


def campaign_page(campaign: Campaign, settings: Settings) -> str:
    """Markdown: the facts of a campaign, its sources, and a table of its tasks."""
    rest = {
        "Schedule": f"`{campaign.schedule}` (Paris time)" if campaign.schedule else "by hand",
        "Warehouse": f"connection `{campaign.warehouse}`",
        "Folder": f"`include/campaigns/{campaign.name}`",
    }
    return facts(campaign, settings) + _rows(rest) + STAGES


def facts(campaign: Campaign, settings: Settings) -> str:
    """A Markdown table of a campaign's texts, hours, approval and limits, shown above the form."""
    rows = {
        **_texts(campaign),
        "Stop&nbsp;mention": campaign.stop_mention or "none",
        "Sender": campaign.sender,
        "Kind": _kind(campaign, settings),
        "Hour": _hour(campaign),
        "Approval": _approval(campaign),
        "Limits": _limits(campaign, settings),
        "Countries": ", ".join(campaign.allowed_countries),
    }
    head = _verbatim(campaign.description or campaign.name)
    return f"| Campaign | {head} |\n|---|---|\n{_rows(rows)}"


def _texts(campaign: Campaign) -> Mapping[str, str]:
    """Rows for the text or the variants' texts, and for the control group."""
    rows = {
        f"Text `{name}`, {_share(campaign.weights[name])}" if name else "Text": _verbatim(text)
        for name, (_, text) in campaign.texts.items()
    }
    if campaign.control_share:
        share = _share(campaign.control_share)
        rows["Control group"] = f"{share} of the recipients are not written to"
    return rows


def _share(share: Fraction) -> str:
    return f"{float(share) * 100:g}%"


def _rows(rows: Mapping[str, str]) -> str:
    return "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _verbatim(text: str) -> str:
    """A campaign's text, escaped for a table cell; a line break becomes a sign."""
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
        hour += ", overseas at local time"
    if campaign.kind is Kind.TRANSACTIONAL:
        return hour
    closed = {"shift": "moves to the next open hour", "fail": "is refused"}[campaign.outside_window]
    return f"{hour}; a closed hour {closed}"


def _approval(campaign: Campaign) -> str:
    least, numbers = campaign.approval, len(campaign.proof_to)
    proof = f"; a proof is sent to {count(numbers, 'phone')} before" if numbers else ""
    if not least:
        return f"not required{proof}"
    when = "always" if least == 1 else f"for more than {least - 1:,} recipients"
    return f"required {when}{proof}"


def _limits(campaign: Campaign, settings: Settings) -> str:
    units = {"budget": f" {settings.currency}"}
    limits = [f"`{key}` {value}{units.get(key, '')}" for key, value in campaign.limits.items()]
    return ", ".join(limits) or "none"
