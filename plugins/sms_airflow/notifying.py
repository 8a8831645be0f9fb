"""Tells the operator's notifiers what became of a file, by the setting `notify`.

Called where the ledger writes a move down, by the one caller whose move it was: each move is told
once at most, however often its task is retried, cleared or run twice. A notifier that fails, or
that takes longer than its patience, is a warning in the task's log and stops nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier, get_current_context

if TYPE_CHECKING:
    from sms.ledger.ledger import Ledger
    from sms.ledger.states import State
    from sms.reports.notices import Notice
    from sms.settings import Notify, Settings

PATIENCE = 30.0  # seconds that a task waits for one notifier

log = logging.getLogger(__name__)


def of_move(ledger: Ledger, stem: str, to: State) -> None:
    """Tell of a move of a file: what `Ledger.heard` is in a task."""
    from sms.reports import notices

    if notices.TOLD.get(to) in _wanted():
        _tell_about(lambda: notices.of_move(ledger, stem, to), stem)


def of_overdue(ledger: Ledger, error: Exception, stem: str) -> None:
    """Tell of a verdict or a report that did not come in time."""
    from sms.reports import notices

    if "overdue" in _wanted():
        _tell_about(lambda: notices.of_overdue(ledger, stem, str(error)), stem)


def faults(settings: Settings) -> Iterator[str]:
    """A sentence for each notifier of the settings that can't be made."""
    for number, entry in enumerate(settings.notify, start=1):
        try:
            _made(entry)
        except Exception as error:
            yield (
                f"the settings' notify, number {number}: {entry.notifier} can't be made "
                f"({type(error).__name__}: {error}). Install its provider, or correct its arguments"
            )


def _wanted() -> set[str]:
    from sms_airflow import wiring

    return {event for entry in wiring.settings().notify for event in entry.on}


def _tell_about(make: Any, stem: str) -> None:
    """Tell every notifier that wants to hear; whatever happens here, the task goes on."""
    from sms_airflow import wiring

    try:
        notice = make()
        context = get_current_context()
        for entry in wiring.settings().notify:
            if notice.event in entry.on:
                _tell(entry, notice, context)
    except Exception as error:
        log.warning("Nobody was told of %s (%s: %s)", stem, type(error).__name__, error)


def _tell(entry: Notify, notice: Notice, context: Mapping[str, Any]) -> None:
    """One notifier, in a thread: one that hangs or exits must not take a send with it."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _made(entry)({**context, "sms": notice.facts})
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name=entry.notifier, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    told = f"{notice.event} of {notice.stem}"
    if thread.is_alive():
        log.warning("%s has not told %s within %s s", entry.notifier, told, PATIENCE)
    elif failed:
        why = f"{type(failed[0]).__name__}: {failed[0]}"
        log.warning("%s could not tell %s (%s)", entry.notifier, told, why)
    else:
        log.info("%s was told %s", entry.notifier, told)


def _made(entry: Notify) -> BaseNotifier:
    """The notifier, made anew: rendering changes it."""
    import importlib

    module, _, name = entry.notifier.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise TypeError("it is no BaseNotifier of Airflow's")
    return kind(**entry.arguments)
