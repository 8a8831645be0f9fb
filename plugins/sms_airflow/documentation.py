"""What a campaign's DAG says about itself in the Airflow UI."""

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


def campaign_page(campaign: Campaign) -> str:
    """Markdown: the facts of a campaign, its text, and what each task does."""
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
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    text = "\n".join(f"    {line}" for line in campaign.text.strip().splitlines())
    return (
        f"### {campaign.description or campaign.name}\n\n| | |\n|---|---|\n{rows}\n\n"
        f"The text:\n\n{text}\n{STAGES}"
    )
