"""Terminal output: phones, histograms, tables, progress."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sms import words
from sms.audience.screening import SENTENCES
from sms.run.rendered import sum_of
from sms.run.screened import Watch, unwatched
from sms.telecom import gsm

PHONE = 34  # columns of a phone's text
BAR = 40  # columns of a histogram's longest bar
MOST_CHARACTERS = 12  # replaced ones that are listed


def phones(messages: pa.RecordBatch, *, unicode: bool) -> RenderableType:
    """Messages (oadc, msg, segments, variant if any) side by side, as on phones."""
    lengths = (gsm.utf16_units if unicode else gsm.septets)(messages["msg"])
    return Columns(
        [
            _phone(row["msg"], _heading(row), row["segments"], int(length))
            for row, length in zip(messages.to_pylist(), lengths, strict=True)
        ],
        padding=(0, 1),
    )


def _heading(row: Mapping[str, str]) -> str:
    """The sender, and the variant if there is one."""
    return f"{row['oadc']}, variant {row['variant']}" if "variant" in row else row["oadc"]


def _phone(text: str, heading: str, segments: int, length: int) -> RenderableType:
    return Panel(
        escape(text),
        title=escape(heading),
        subtitle=f"{words.count(length, 'character')}, {segments} SMS",
        width=PHONE + 4,
        padding=(1, 1),
        border_style="red" if segments > 1 else "green",
    )


def histogram(segments: Mapping[int, int]) -> RenderableType:
    """The number of messages by SMS per message, as bars."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    most = max(segments.values(), default=0)
    for size, count in sorted(segments.items()):
        bar = "█" * max(1, round(BAR * count / most))
        table.add_row(f"{size} SMS", f"[cyan]{bar}[/]", f"{count:,}", style=None)
    return table


def variants(counted: Mapping[str, Mapping[int, int]]) -> RenderableType:
    """The messages and SMS of each variant."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    for name, segments in counted.items():
        table.add_row(f"{sum(segments.values()):,}", name, f"[dim]{sum_of(segments):,} SMS[/]")
    return table


def reasons(excluded: Mapping[str, int]) -> RenderableType:
    """The exclusions by reason, the most frequent first."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    for code, count in sorted(excluded.items(), key=lambda item: -item[1]):
        table.add_row(f"{count:,}", code, f"[dim]{escape(SENTENCES[code])}[/]")
    return table


def replaced(characters: Mapping[str, int]) -> RenderableType:
    """The replaced characters, with their replacements and counts."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right")
    ranked = sorted(characters.items(), key=lambda item: -item[1])
    for code, count in ranked[:MOST_CHARACTERS]:
        table.add_row(f"{count:,}", escape(_change(code)), f"[dim]{code}[/]")
    if len(ranked) > MOST_CHARACTERS:
        table.add_row("", f"[dim]and {len(ranked) - MOST_CHARACTERS} other characters[/]", "")
    return table


@contextmanager
def progress(console: Console) -> Iterator[Watch]:
    """Progress bars on a terminal; nothing without one."""
    bars = Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(BAR),
        TextColumn("{task.completed:>12,.0f} rows"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def watch(stage: str, rows: int, of: int | None) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=of)
        bars.update(tasks[stage], completed=rows, total=of)

    with bars:
        yield watch if console.is_terminal else unwatched


def _change(code: str) -> str:
    character = chr(int(code.removeprefix("U+"), 16))
    becomes = gsm.transliterated(character)
    shown = character if character.isprintable() else code
    return f"{shown} → {gsm.UNKNOWN if becomes is None else becomes or 'nothing'}"
