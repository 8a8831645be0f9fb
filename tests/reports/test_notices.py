"""Notifiers get each event once, without personal data, and their failures stop nothing."""

import email
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context
from ruamel.yaml import YAML

from sms.errors import ConfigurationError
from sms.ledger.ledger import Ledger
from sms.ledger.states import State
from sms.reports import notices
from sms.settings import VARIABLE, load
from sms_airflow import notifying, wiring
from sms_airflow.operators import SubmitOperator
from sms_airflow.sensors import ReportSensor
from tests.airflow_home import ledger_connection
from tests.notebook import lines

ACK = "ACK-12345-20260715-1200-spring1.csv"
DUE = datetime(2026, 7, 16, 10, 0, tzinfo=UTC)
EVERYTHING = ["submitted", "accepted", "rejected", "unknown", "reported", "overdue"]
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


@dataclass
class Ti:
    """A try of a task, as far as anything here asks."""

    dag_id: str = "send__spring"
    run_id: str = "one"
    task_id: str = "submit"
    try_number: int = 1


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "notebook.jsonl"


@pytest.fixture
def chosen(tmp_path, monkeypatch, book) -> Callable[..., None]:
    """Sets the setting `notify`; at first a notebook hears everything."""

    def choose(*entries: dict[str, Any]) -> None:
        file = tmp_path / "settings.yaml"
        YAML().dump({"notify": list(entries)}, file)
        monkeypatch.setenv(VARIABLE, str(file))

    choose(a_notebook(book, on=EVERYTHING))
    return choose


@pytest.fixture
def told(chosen) -> Iterator[Callable[..., None]]:
    """The same, in a task."""
    with set_current_context({"ti": Ti()}):
        yield chosen


@pytest.fixture
def home(home, shared_ledger, monkeypatch):
    """The way home as tasks have it: moves are heard."""
    home.ledger = Ledger(
        shared_ledger.engine, clock=lambda: home.now, actor="test", on_move=notifying.of_move
    )
    monkeypatch.setenv("AIRFLOW_CONN_SMS_LEDGER", ledger_connection(shared_ledger.engine.url))
    return home


def a_notebook(book: Path, on: list[str], words: str = "{{ sms.sentence }}") -> dict[str, Any]:
    arguments = {"path": str(book), "words": words}
    # A list of its own: YAML would write the same one a second time as an alias.
    return {"on": [*on], "notifier": "tests.notebook.Notebook", "arguments": arguments}


def clumsy(way: str, name: str = "tests.notebook.Clumsy") -> dict[str, Any]:
    return {"on": [*EVERYTHING], "notifier": name, "arguments": {"way": way}}


# What is told


def test_each_move_is_notified_once_with_its_facts(home, told, book):
    one = home.accepted(3)
    home.ledger.submissions.move(one.stem, to=State.ACCEPTED)  # again, as a cleared task does

    submitted, accepted = lines(book)
    assert submitted["event"] == "submitted"
    assert submitted["words"] == (
        f"{one.stem} is at the gateway, which has not yet accepted it: 3 messages, for Wednesday "
        "15 July 2026 at 12:00 in Paris"
    )
    assert accepted == {
        "by": "submit",
        "event": "accepted",
        "words": f"the gateway accepted {one.stem}: 3 messages, for Wednesday 15 July 2026 at "
        "12:00 in Paris",
        "sentence": accepted["words"],
        "campaign": "spring",
        "run_key": one.run_key,
        "stem": one.stem,
        "messages": 3,
        "segments": 3,
        "send_at": "2026-07-15T10:00:00+00:00",
        "due_at": None,
        "counts": None,
    }


def test_rejected_and_unknown_files_are_notified(home, told, book):
    rejected, lost = home.submitted(2), home.submitted(4)
    home.ledger.submissions.move(rejected.stem, to=State.REJECTED)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE sms.submission SET state = 'uploading' WHERE id = %s", (lost.id,)
        )
    home.ledger.submissions.move(lost.stem, to=State.UNKNOWN)

    words = [each["words"] for each in lines(book)[2:]]
    assert (
        words[0] == f"the gateway rejected {rejected.stem} with 2 messages: nothing of it is sent"
    )
    assert f"unknown whether {lost.stem} (4 messages) reached the gateway" in words[1]
    assert "settle_submission" in words[1]


def test_a_report_notice_has_its_counts_and_missing(home, told, book, ack):
    one = home.accepted(5)
    home.gateway.shows(ACK, ack(3) + ack(1, "4;refused"))
    home.collect(one.stem)
    home.collect(one.stem)

    [reported] = [each for each in lines(book) if each["event"] == "reported"]
    assert reported["words"].startswith(
        f"{one.stem}, 5 messages: 2 delivered, 1 refused, 2 missing. the delivery report"
    )
    assert "as the balance was too low" in reported["words"]
    assert reported["counts"]["missing"] == 2
    assert reported["counts"]["duplicates"] == 1


def test_a_report_notifies_the_verdict_it_proves(home, told, book, ack):
    one = home.submitted(2)
    home.gateway.shows(ACK, ack(2))

    home.collect(one.stem)

    assert [each["event"] for each in lines(book)] == ["submitted", "accepted", "reported"]


def test_an_overdue_report_is_notified_with_its_numbers(home, told, book):
    one = home.accepted(40)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("UPDATE sms.submission SET due_at = %s", (DUE,))
    sensor = ReportSensor(task_id="await_report", stem=one.stem)

    with pytest.raises(AirflowFailException, match=f"{one.stem} on 40 messages is overdue: it was"):
        sensor.concluded({"ti": Ti()}, {"saw": "overdue", "stem": one.stem})

    overdue = lines(book)[-1]
    assert (overdue["event"], overdue["messages"]) == ("overdue", 40)
    assert overdue["due_at"] == DUE.isoformat()
    assert "on 40 messages is overdue: it was due 2026-07-16 10:00 UTC" in overdue["words"]


def test_an_overdue_verdict_is_notified(home, told, book):
    one = home.submitted(7)
    operator = SubmitOperator(task_id="submit", stems=[one.stem])

    with pytest.raises(AirflowFailException, match="no verdict on"):
        operator.concluded({"ti": Ti()}, {"saw": "overdue", "stem": one.stem, "phase": "lock"})

    overdue = lines(book)[-1]
    assert (overdue["event"], overdue["messages"]) == ("overdue", 7)
    assert "is still processing it" in overdue["words"]


def test_each_notifier_gets_only_its_events(home, told, book, tmp_path):
    alarms = tmp_path / "alarms.jsonl"
    told(
        a_notebook(book, on=["accepted"], words="{{ sms.messages }} of {{ sms.campaign }}"),
        a_notebook(alarms, on=["rejected", "overdue"]),
    )
    home.accepted(3)
    rejected = home.submitted(2)
    home.ledger.submissions.move(rejected.stem, to=State.REJECTED)

    assert [each["words"] for each in lines(book)] == ["3 of spring"]
    assert [each["event"] for each in lines(alarms)] == ["rejected"]


def test_without_notifiers_no_query_is_made(home, told, monkeypatch):
    told()
    monkeypatch.setattr(notices, "of_move", None)  # would fail

    home.accepted(3)


def test_no_notice_holds_a_number_or_a_text(home, told, book, ack):
    one = home.accepted(3)
    home.gateway.shows(ACK, ack(2) + b"idX;+33639989999;S;Bonjour;3;d;t\r\nbroken Bonjour\r\n")
    home.collect(one.stem)

    assert len(lines(book)) == 3
    assert "3998" not in book.read_text()
    assert "Bonjour" not in book.read_text()


def test_a_tasks_ledger_notifies(home, told, book):
    one = home.submitted(3)

    wiring.ledger_for(Ti()).submissions.move(one.stem, to=State.ACCEPTED)

    assert [each["event"] for each in lines(book)] == ["submitted", "accepted"]


# A notifier that fails


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        pytest.param(clumsy("raise"), "RuntimeError: the mail server is on fire", id="it raises"),
        pytest.param(clumsy("exit"), "SystemExit: 1", id="it leaves the process"),
        pytest.param(clumsy("", "tests.notebook.NoSuch"), "AttributeError", id="it is not there"),
        pytest.param(clumsy("", "nowhere.at.All"), "ModuleNotFoundError", id="nor its package"),
        pytest.param(clumsy("", "tests.notebook.lines"), "it is no BaseNotifier", id="a function"),
        pytest.param(clumsy("hang"), "has not sent", id="it hangs"),
    ],
)
def test_a_notifier_that_fails_is_logged_and_stops_nothing(
    home, told, book, caplog, monkeypatch, entry, why
):
    # Long enough for the notebook on a busy machine, and waited for twice by whoever hangs.
    monkeypatch.setattr(notifying, "PATIENCE", 2 if entry["arguments"]["way"] == "hang" else 60)
    told(entry, a_notebook(book, on=EVERYTHING))

    one = home.accepted(3)

    assert one.state is State.ACCEPTED
    assert [each["event"] for each in lines(book)] == ["submitted", "accepted"]
    assert f"accepted of {one.stem}" in caplog.text
    assert why in caplog.text


def test_a_wrong_template_is_logged_and_stops_nothing(home, told, book, caplog):
    told(a_notebook(book, on=EVERYTHING, words="{{ sms.nobody.home }}"))

    assert home.accepted(3).state is State.ACCEPTED
    assert "UndefinedError" in caplog.text


def test_outside_a_task_nothing_is_notified_and_nothing_fails(home, chosen, book, caplog):
    one = home.accepted(3)

    assert one.state is State.ACCEPTED
    assert lines(book) == []
    assert f"No notice was sent on {one.stem}" in caplog.text


# The settings


def test_an_impossible_notifier_is_an_import_error(told, book):
    told(
        a_notebook(book, ["overdue"]),
        clumsy("", "nowhere.at.All"),
        {**clumsy("raise"), "arguments": {"to": 1}},
    )

    first, second = notifying.faults(load())

    assert first.startswith(
        "the settings' notify, number 2: nowhere.at.All can't be created (Module"
    )
    assert second.startswith(
        "the settings' notify, number 3: tests.notebook.Clumsy can't be created"
    )
    assert "Install its provider, or correct its arguments" in first


@pytest.mark.parametrize(
    ("entry", "told_of"),
    [
        pytest.param({"on": ["landed"], "notifier": "a.B"}, "landed", id="no such event"),
        pytest.param({"on": [], "notifier": "a.B"}, "on", id="no event"),
        pytest.param({"on": ["overdue"], "notifier": "Smtp"}, "notifier", id="no import path"),
        pytest.param({"on": ["overdue"], "notifier": "a.B", "to": 1}, "to", id="a misplaced key"),
        pytest.param({"on": ["overdue"]}, "notifier", id="no notifier"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(tmp_path, entry, told_of):
    file = tmp_path / "settings.yaml"
    YAML().dump({"notify": [entry]}, file)

    with pytest.raises(ConfigurationError, match=f"line \\d+.*{told_of}"):
        load(file)


# A mail, by Airflow's own notifier and a real server


class Mailbox(socketserver.StreamRequestHandler):
    """The least of SMTP that takes a mail in."""

    def handle(self) -> None:
        """One conversation."""
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                mail = b""
                while (line := self.rfile.readline()) != b".\r\n":
                    mail += line
                self.server.mails.append(mail.decode())
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")


@pytest.fixture
def mails(monkeypatch) -> Iterator[list[str]]:
    """What the server behind Airflow's connection smtp_default was given."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.daemon_threads = True
        server.mails = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(
            "AIRFLOW_CONN_SMTP_DEFAULT",
            f"smtp://127.0.0.1:{server.server_address[1]}?disable_ssl=true&disable_tls=true",
        )
        yield server.mails
        server.shutdown()


def test_airflows_own_notifier_sends_a_mail(home, told, mails):
    told(
        {
            "on": ["rejected"],
            "notifier": SMTP,
            "arguments": {
                "from_email": "sms@example.com",
                "to": "operators@example.com",
                "subject": "SMS {{ sms.event }}: {{ sms.campaign }}",
                "html_content": "{{ sms.sentence }}",
            },
        }
    )
    one = home.submitted(2)

    home.ledger.submissions.move(one.stem, to=State.REJECTED)

    [mail] = mails
    received = email.message_from_string(mail)
    assert received["Subject"] == "SMS rejected: spring"
    [words] = [part.get_payload(decode=True) for part in received.walk() if not part.is_multipart()]
    assert words.decode().startswith(f"the gateway rejected {one.stem} with 2 messages: ")
