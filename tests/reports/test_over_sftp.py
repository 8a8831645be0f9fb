"""Reports over real SFTP, from both servers and through days of the sandbox's time."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sms.errors import ReportOverdue, ReportsFailed, ReportUnfinished
from sms.ledger.states import State
from sms.reports.collection import Collected
from sms.reports.housekeeping import Cleared, clean_gateway
from sms.settings import Settings
from sms_airflow import wiring
from sms_sandbox import Knobs, Sandbox
from tests.sandbox.wire import log_in, submit
from tests.world import Gateway, connect

START = datetime(2026, 7, 15, 10, 0, tzinfo=UTC)  # a Wednesday, 12:00 in Paris
MESSAGES = 400


@pytest.fixture(params=["as RFC 4180 says", "as the page's example shows"])
def gateway(request, tmp_path, monkeypatch) -> Iterator[Sandbox]:
    """A gateway that makes its reports itself."""
    knobs = Knobs(
        stop=0.1,
        reply=0.2,
        unreported=0.02,
        torn=True,
        report_header=True,
        report_hour_moves=True,
        report_copies=True,
        rows_twice=True,
        bare_reports=request.param == "as the page's example shows",
    )
    with Sandbox(tmp_path / "gateway", knobs=knobs, start=START) as sandbox:
        connect(monkeypatch, sandbox)
        yield sandbox


@pytest.fixture(params=["sandbox", "telling little", "openssh"])
def shelf(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """A gateway that shows the reports that a test puts there."""
    if request.param != "openssh":
        hidden = ("size", "times", "permissions") if request.param == "telling little" else ()
        with Sandbox(tmp_path / "gateway", knobs=Knobs(hidden=hidden)) as sandbox:
            connect(monkeypatch, sandbox)
            yield sandbox
    else:
        openssh = request.getfixturevalue("openssh")
        connect(monkeypatch, openssh)
        yield openssh


def test_growing_and_torn_reports_are_collected_completely(home, gateway):
    one = home.accepted(MESSAGES)
    with log_in(gateway) as client:
        submit(client, send_file(MESSAGES), one.stem)
    with wiring.gateway() as home.gateway:
        gateway.settle()
        begin = gateway.now()
        for hours in (1, 2, 5, 12, 23):
            look(home, gateway, begin + timedelta(hours=hours))
        with pytest.raises(ReportOverdue):
            home.collect(one.stem)

        # At this very moment the delivery report is there, but for half of its last line.
        home.now = begin + timedelta(days=1)
        gateway.move_clock(to=home.now)
        with pytest.raises(ReportUnfinished):
            home.collect(one.stem)
        look(home, gateway, begin + timedelta(days=1, hours=1))
        collected = home.collect(one.stem)

    assert home.ledger.submissions.get(one.stem).state is State.REPORTED
    assert_adds_up(collected, gateway.journal("report")[0]["outcomes"])
    answers = Counter(dict(home.table("SELECT kind, count(*) FROM sms.reply GROUP BY 1")))
    assert answers == grown(gateway)
    stopped = home.table("SELECT count(DISTINCT msisdn) FROM sms.reply WHERE kind = 'STOP'")
    assert 0 < stopped[0][0] < len(home.stop_list())  # ARRET in a reply counts too


def test_repeated_collections_load_each_report_once(home, shelf, ack, reply):
    one = home.accepted(3)
    stop, answers = (one.stem.replace("SEND", kind) + ".csv" for kind in ("STOP", "SMSMO"))
    home.now = datetime.now(UTC)
    shelf.put_report(one.stem.replace("SEND", "ACK") + ".csv", ack(3))
    shelf.put_report(stop, reply(0))
    shelf.put_report(answers, reply(1, "merci"))

    with wiring.gateway() as home.gateway:
        assert len(home.collect_replies()) == 2
        assert home.collect(one.stem).reconciliation.delivered == 3
        seen = home.tables()
        assert home.collect_replies() == []
        home.collect(one.stem)
        assert home.tables() == seen

        shelf.put_report(stop, reply(0) + reply(2))
        [grown] = home.collect_replies()

    assert grown.opt_outs == 1
    assert home.stop_list() == [33639980000, 33639980002]
    assert home.ledger.submissions.get(one.stem).state is State.REPORTED


@pytest.mark.parametrize("shelf", ["sandbox", "openssh"], indirect=True)
def test_a_connection_lost_during_a_fetch_loses_nothing(home, shelf, reply):
    one = home.accepted(3)
    shelf.put_report(one.stem.replace("SEND", "STOP") + ".csv", reply(0))
    home.now = datetime.now(UTC)
    with wiring.gateway() as home.gateway:
        shelf.drop_connection_before("get")
        with pytest.raises(ReportsFailed, match="Nothing is lost"):
            home.collect_replies()
    assert home.stop_list() == []

    with wiring.gateway() as home.gateway:
        home.collect_replies()
    assert home.stop_list() == [33639980000]


def test_a_report_in_halves_is_read_before_deletion(home, tmp_path, monkeypatch):
    """Nobody waits for the second half: housekeeping reads it, and deletes the report at last."""
    knobs = Knobs(stop=0.1, reply=0.2, ack_in_halves=True, newest_first=True)
    with Sandbox(tmp_path / "gateway", knobs=knobs, start=START) as gateway:
        connect(monkeypatch, gateway)
        one = home.accepted(MESSAGES)
        with log_in(gateway) as client:
            submit(client, send_file(MESSAGES), one.stem)
        with wiring.gateway() as home.gateway:
            gateway.settle()
            for hours in (1, 2, 5, 12):
                look(home, gateway, START + timedelta(hours=hours))
            look(home, gateway, START + timedelta(days=1, minutes=30))
            first = home.collect(one.stem).reconciliation
            assert first.missing == MESSAGES // 2
            look(home, gateway, START + timedelta(days=1, hours=6))
            assert clear(home).reports == ()
            assert home.ledger.submissions.reconcile(one.stem).missing == 0
            look(home, gateway, START + timedelta(days=2))
            assert len(clear(home).reports) == 1

    assert first.balanced
    counts, truth = (
        home.ledger.submissions.reconcile(one.stem),
        gateway.journal("report")[0]["outcomes"],
    )
    assert (counts.delivered, counts.refused) == (truth["delivered"], truth["refused"])
    answers = Counter(dict(home.table("SELECT kind, count(*) FROM sms.reply GROUP BY 1")))
    written = Counter[str]()
    for entry in gateway.journal("grown"):
        written[entry["name"].partition("-")[0]] += entry["rows"]
    assert answers == written


def test_a_packed_report_is_collected(home, tmp_path, monkeypatch):
    with Sandbox(tmp_path / "gateway", knobs=Knobs(packed_acks=True), start=START) as gateway:
        connect(monkeypatch, gateway)
        one = home.accepted(MESSAGES)
        with log_in(gateway) as client:
            submit(client, send_file(MESSAGES), one.stem)
        with wiring.gateway() as home.gateway:
            gateway.settle()
            look(home, gateway, START + timedelta(days=1, hours=1))
            assert home.collect(one.stem).reconciliation.missing == 0
            look(home, gateway, START + timedelta(days=2))
            assert clear(home).reports == (f"{one.stem.replace('SEND', 'ACK')}.csv.gz",)


def clear(home) -> Cleared:
    """Housekeeping at the gateway."""
    return clean_gateway(home.gateway, home.ledger, home.archive, Settings(), home.now)


def assert_adds_up(collected: Collected, truth: dict[str, int]) -> None:
    """Every outcome that the gateway knows of came home, and the rest is told as missing."""
    counts = collected.reconciliation
    assert counts.balanced
    assert counts.delivered == truth["delivered"]
    assert counts.refused == truth["refused"]
    assert counts.not_delivered == truth["not delivered"]
    assert counts.sent - counts.missing == counts.duplicates == sum(truth.values())
    assert collected.rows == 2 * counts.duplicates
    assert counts.missing > 0
    assert collected.unreadable == 0
    assert any("are missing" in note for note in collected.notes)


def look(home, gateway: Sandbox, at: datetime) -> None:
    """A poll at an hour of the gateway's time; what was torn then is whole at the next."""
    gateway.move_clock(to=at)
    home.now = gateway.now()
    home.collect_replies()


def grown(gateway: Sandbox) -> Counter[str]:
    """How many rows the gateway says it wrote, by kind of report; a copy adds none."""
    rows: Counter[str] = Counter()
    names = {entry["name"] for entry in gateway.journal("grown")}
    for entry in gateway.journal("grown"):
        if entry["name"] != max(name for name in names if name[:4] == entry["name"][:4]):
            rows[entry["name"].partition("-")[0]] += entry["rows"]
    return rows


def send_file(count: int) -> bytes:
    """The messages that the ledger knows, as a file for Send."""
    return "".join(
        f'{n:032x};+{33_639_980_000 + n};SPRING;"Bonjour; à bientôt. STOP au 36000"\r\n'
        for n in range(count)
    ).encode()
