"""The demo's output: a live view on a terminal, plain lines otherwise."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.story import AHEAD, BUSY, DONE, FAILED, Scene
from sms.audience.screening import SENTENCES
from sms.clock import PARIS
from sms.ledger.records import Summary
from sms.ledger.states import ACCEPTED_AND_LATER

MARKS = {DONE: ("✔", "green"), FAILED: ("✘", "red"), BUSY: ("…", "yellow"), AHEAD: ("·", "dim")}


class Screen:
    """Shows the progress, for a `with` block."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._printed: dict[str, str] = {}  # the states of stages

    def say(self, sentence: str) -> None:
        """Print a line."""
        self.console.print(Text(sentence), soft_wrap=True)

    def show(self, scene: Scene) -> None:
        """Update the live view, or print the stages that have changed."""
        if self._live:
            self._live.update(_drawn(scene))
            return
        for stage in scene.stages:
            if stage.state in (DONE, FAILED) and self._printed.get(stage.name) != stage.state:
                self._printed[stage.name] = stage.state
                date = f"{scene.moment.astimezone(PARIS):%d %b %H:%M}"
                self.say(f"{date}  {stage.state:6}  {stage.name:16} {stage.said}".rstrip())

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()


def _drawn(scene: Scene) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for stage in scene.stages:
        mark, colour = MARKS[stage.state]
        name = Text(stage.name, style=colour if stage.state != DONE else "")
        table.add_row(Text(mark, style=colour), name, Text(stage.said))
    date = f"{scene.moment.astimezone(PARIS):%A %d %B %Y, %H:%M:%S}"
    return Group(Text(f"In the sandbox it is {date} in Paris", style="bold"), table)


def table_of(summary: Summary) -> Table:
    """A table of the run's counts."""
    title = f"{summary.run.campaign}: from the warehouse to the delivery report"
    table = Table(title=title, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    table.add_row("candidates extracted", f"{summary.candidates:,}")
    for code, count in sorted(summary.excluded.items(), key=lambda item: -item[1]):
        table.add_row(f"  excluded: {code}", f"{count:,}", SENTENCES.get(code))
    table.add_section()
    outcomes = summary.outcomes
    table.add_row("sent", f"{summary.sent:,}")
    table.add_row("segments", f"{summary.segments:,}")
    accepted = sum(summary.submissions.get(state, 0) for state in ACCEPTED_AND_LATER)
    table.add_row("files accepted", f"{accepted:,}")
    table.add_section()
    for name in ("delivered", "refused", "not_delivered", "pending", "unknown", "missing"):
        table.add_row(name.replace("_", " "), f"{getattr(outcomes, name):,}")
    table.add_section()
    table.add_row("STOPs", f"{summary.stops:,}")
    table.add_row("replies", f"{summary.replies:,}")
    return table


def phone(message: Mapping[str, Any]) -> Panel:
    """A delivered message as on a phone, its number masked."""
    to = f"{message['msisdn'][:4]}••••••{message['msisdn'][-2:]}"
    return Panel(
        Text(message["text"]),
        title=Text(message["oadc"], style="bold"),
        subtitle=Text(f"to {to}", style="dim"),
        width=46,
        padding=(1, 2),
    )
