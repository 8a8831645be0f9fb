"""The way home from the sandbox gateway, over real SFTP, through days of its time."""

import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import paramiko
import pytest

from sms.collecting import Collected
from sms.delivery import Folder, RemoteFile
from sms.errors import ReportOverdue, ReportUnfinished
from sms.ledger.ledger import State
from sms_sandbox import Knobs, Sandbox
from tests.sandbox.wire import log_in, submit

START = datetime(2026, 7, 15, 10, 0, tzinfo=UTC)  # a Wednesday, 12:00 in Paris
MESSAGES = 400


@dataclass
class Session:
    """An open session at the gateway, by paramiko alone."""

    client: paramiko.SFTPClient

    def listing(self, folder: Folder) -> list[RemoteFile]:
        return [
            RemoteFile(file.filename, file.st_size, datetime.fromtimestamp(file.st_mtime, UTC))
            for file in self.client.listdir_attr(folder)
            if not stat.S_ISDIR(file.st_mode)
        ]

    def fetch(self, folder: Folder, name: str, into: BinaryIO) -> None:
        self.client.getfo(f"{folder}/{name}", into)


@pytest.fixture(params=["as RFC 4180 says", "as the page's example shows"])
def gateway(request, tmp_path) -> Iterator[Sandbox]:
    knobs = Knobs(
        stop=0.1,
        reply=0.2,
        unreported=0.02,
        torn=True,
        report_header=True,
        report_hour_moves=True,
        bare_reports=request.param == "as the page's example shows",
    )
    with Sandbox(tmp_path / "gateway", knobs=knobs, start=START) as sandbox:
        yield sandbox


def test_everything_comes_home_from_a_gateway_that_grows_and_tears_its_reports(home, gateway):
    one = home.accepted(MESSAGES)
    with log_in(gateway) as client:
        home.gateway = Session(client)
        submit(client, send_file(MESSAGES), one.stem)
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

    assert home.ledger.submission(one.stem).state is State.REPORTED
    assert_adds_up(collected, gateway.journal("report")[0]["outcomes"])
    answers = Counter(dict(home.table("SELECT kind, count(*) FROM sms.reply GROUP BY 1")))
    assert answers == grown(gateway)
    stopped = home.table("SELECT count(DISTINCT msisdn) FROM sms.reply WHERE kind = 'STOP'")
    assert 0 < stopped[0][0] < len(home.stop_list())  # ARRET in a reply counts too


def assert_adds_up(collected: Collected, truth: dict[str, int]) -> None:
    """Every outcome that the gateway knows of came home, and the rest is told as missing."""
    counts = collected.reconciliation
    assert counts.balanced
    assert counts.delivered == truth["delivered"]
    assert counts.refused == truth["refused"]
    assert counts.not_delivered == truth["not delivered"]
    assert counts.sent - counts.missing == collected.rows == sum(truth.values())
    assert counts.missing > 0
    assert collected.unreadable == 0
    assert any("are missing" in note for note in collected.notes)


def look(home, gateway: Sandbox, at: datetime) -> None:
    """A poll at an hour of the gateway's time; what was torn then is whole at the next."""
    gateway.move_clock(to=at)
    home.now = gateway.now()
    home.collect_replies()


def grown(gateway: Sandbox) -> Counter[str]:
    """How many rows the gateway says it wrote, by kind of report."""
    rows: Counter[str] = Counter()
    for entry in gateway.journal("grown"):
        rows[entry["name"].partition("-")[0]] += entry["rows"]
    return rows


def send_file(count: int) -> bytes:
    """The messages that the ledger knows, as a file for Send."""
    return "".join(
        f'id{n:05d};+{33_639_980_000 + n};SPRING;"Bonjour; à bientôt. STOP au 36000"\r\n'
        for n in range(count)
    ).encode()
