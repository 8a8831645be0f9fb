"""Sends notices on a file to the operator's notifiers, by the setting `notify`.

It is called when the ledger records a file's new state, by the one caller that changed it: so each
change causes one notice at most, however often its task is retried, cleared or run twice. If a
notifier fails, or takes longer than PATIENCE, the task's log has a warning and the task continues.
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
    """Send the notice of a file's new state: the `Ledger.on_move` of a task."""
    from sms.reports import notices

    if notices.EVENTS.get(to) in _wanted():
        _notify(lambda: notices.of_move(ledger, stem, to), stem)


def of_overdue(ledger: Ledger, error: Exception, stem: str) -> None:
    """Send the notice of an overdue verdict or report."""
    from sms.reports import notices

    if "overdue" in _wanted():
        _notify(lambda: notices.of_overdue(ledger, stem, str(error)), stem)


def faults(settings: Settings) -> Iterator[str]:
    """A sentence for each notifier of the settings that can't be created."""
    for number, entry in enumerate(settings.notify, start=1):
        try:
            _notifier(entry)
        except Exception as error:
            yield (
                f"the settings' notify, number {number}: {entry.notifier} can't be created "
                f"({type(error).__name__}: {error}). Install its provider, or correct its arguments"
            )


def _wanted() -> set[str]:
    from sms_airflow import wiring

    return {event for entry in wiring.settings().notify for event in entry.on}


def _notify(make: Any, stem: str) -> None:
    """Call each notifier that asks for the event. Never raises, so that the task continues."""
    from sms_airflow import wiring

    try:
        notice = make()
        context = get_current_context()
        for entry in wiring.settings().notify:
            if notice.event in entry.on:
                _call(entry, notice, context)
    except Exception as error:
        log.warning("No notice was sent on %s (%s: %s)", stem, type(error).__name__, error)


def _call(entry: Notify, notice: Notice, context: Mapping[str, Any]) -> None:
    """Call one notifier in a thread, so that one that hangs or exits can't stop the task."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _notifier(entry)({**context, "sms": notice.facts})
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name=entry.notifier, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    event = f"{notice.event} of {notice.stem}"
    if thread.is_alive():
        log.warning("%s has not sent %s within %s s", entry.notifier, event, PATIENCE)
    elif failed:
        why = f"{type(failed[0]).__name__}: {failed[0]}"
        log.warning("%s could not send %s (%s)", entry.notifier, event, why)
    else:
        log.info("%s has sent %s", entry.notifier, event)


def _notifier(entry: Notify) -> BaseNotifier:
    """A new notifier for each call, as rendering changes it."""
    import importlib

    module, _, name = entry.notifier.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise TypeError("it is no BaseNotifier of Airflow")
    return kind(**entry.arguments)
