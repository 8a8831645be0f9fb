"""What a campaign's DAG says about itself in the Airflow UI."""

from fractions import Fraction

from sms.campaign import Campaign

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
| `hear_stops` | brings home the STOPs that lie at the gateway | always |
| `submit` | uploads all as `.tmp`, renames one by one, waits for each `.done` | always, it looks |
| `book_collection` | books the run that fetches the delivery report when it is due | always |
| `conclude` | says what was sent; fails with any file before it | always |

Right before each rename the stop list is read again; a `.reject` fails at once and holds what
follows. From the moment a file is being uploaded, clearing earlier tasks changes nothing: what was
sent stays on record. To send again, trigger a new run.
"""


def _asked(least: int) -> str:
    if not least:
        return "none"
    return "always" if least == 1 else f"for more than {least - 1:,} recipients"


def _share(share: Fraction) -> str:
    return f"{float(share) * 100:g}%"


def _text(variant: str, text: str) -> str:
    heading = f"The text of the variant `{variant}`" if variant else "The text"
    lines = "\n".join(f"    {line}" for line in text.strip().splitlines())
    return f"{heading}:\n\n{lines}\n"


def campaign_page(campaign: Campaign) -> str:
    """Markdown: the facts of a campaign, what phones show, and what each task does."""
    facts = {
        "Kind": campaign.kind.value,
        "Sender": campaign.sender,
        "Schedule": f"`{campaign.schedule}` (Paris time)" if campaign.schedule else "by hand",
        "Hour of sending": campaign.send_at or "as soon as allowed",
        "Approval": _asked(campaign.approval),
        "Stop mention": campaign.stop_mention or "none",
        "Countries": ", ".join(campaign.allowed_countries),
        "Warehouse": f"connection `{campaign.warehouse}`",
        "Folder": f"`include/campaigns/{campaign.name}`",
    }
    if campaign.variants:
        weights = campaign.weights.items()
        facts["Variants"] = ", ".join(f"`{name}` {_share(weight)}" for name, weight in weights)
    if campaign.held_out:
        facts["Hold-out"] = f"{_share(campaign.held_out)} of the people are not written to"
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    texts = "\n".join(_text(name, text) for name, (_, text) in campaign.texts.items())
    return (
        f"### {campaign.description or campaign.name}\n\n| | |\n|---|---|\n{rows}\n\n"
        f"{texts}{STAGES}"
    )
