"""HTML for notebooks: counts as a funnel, messages as phones show them, small tables.

Text from campaigns and recipients is escaped, and numbers are masked.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd

from sms.audience.screening import SENTENCES
from sms.run.review_page import Sample

BAR = 30  # characters of the longest bar
LISTED = 12  # Reasons in the funnel
STYLE = (
    "<style>"
    ".sms{font-family:system-ui,sans-serif;max-width:760px}"
    ".sms table{margin:6px 0;border-collapse:collapse}"
    ".sms td,.sms th{border:none;padding:1px 10px 1px 0;text-align:left}"
    ".sms td.number{text-align:right}"
    ".sms .phone{display:inline-block;vertical-align:top;width:230px;margin:6px 10px 6px 0;"
    "padding:8px 12px;border:1px solid #999;border-radius:12px}"
    ".sms .phone p{margin:6px 0;overflow-wrap:anywhere;white-space:pre-line}"
    ".sms small{opacity:.65}"
    "</style>"
)


def card(title: str, *parts: str) -> str:
    """A title with its content."""
    return f'{STYLE}<div class="sms"><strong>{escape(title)}</strong>{"".join(parts)}</div>'


def note(sentence: str) -> str:
    """A note of one sentence."""
    return f"<div><small>{escape(sentence)}</small></div>"


def funnel(candidates: int, excluded: Mapping[str, int], remains: Sequence[tuple[str, int]]) -> str:
    """A funnel: candidates, each Reason by frequency, and the remaining counts."""
    ranked = sorted(excluded.items(), key=lambda item: -item[1])
    rows = [_bar("candidates", candidates, candidates)]
    rows += [_bar(code, -people, candidates, SENTENCES[code]) for code, people in ranked[:LISTED]]
    if others := sum(people for _, people in ranked[LISTED:]):
        rows.append(_bar("for other reasons", -others, candidates))
    rows += [_bar(name, amount, candidates) for name, amount in remains]
    return f"<table>{''.join(rows)}</table>"


def _bar(name: str, amount: int, of: int, tooltip: str = "") -> str:
    length = min(BAR, max(1, round(BAR * abs(amount) / of))) if amount else 0
    return (
        f'<tr title="{escape(tooltip)}"><td>{escape(name)}</td><td class="number">{amount:,}</td>'
        f"<td>{('░' if amount < 0 else '█') * length}</td></tr>"
    )


def phones(sender: str, samples: Iterable[Sample]) -> str:
    """Messages as phones show them, with masked numbers."""
    return "".join(_phone(sender, each) for each in samples)


def _phone(sender: str, sample: Sample) -> str:
    heading = f"{sender}, variant {sample.variant}" if sample.variant else sender
    return (
        f'<div class="phone"><strong>{escape(heading)}</strong><p>{escape(sample.text)}</p>'
        f"<small>to {escape(sample.msisdn)}, {sample.segments} SMS</small></div>"
    )


def table(frame: pd.DataFrame) -> str:
    """A few rows as a table; moments to the minute, with their offset."""
    if frame.empty:
        return ""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in frame.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(each))}</td>' for each in row)}</tr>"
        for row in frame.itertuples(index=False)
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _cell(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return value.isoformat(sep=" ", timespec="minutes")
    return f"{value:,}" if isinstance(value, int) else str(value)
