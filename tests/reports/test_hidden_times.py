"""On a server that gives no times, only a report's bytes show whether it is unchanged."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from sms.delivery.gateway import Folder, RemoteFile
from sms.reports.collection import REPORT_SETTLES
from tests.factories import FIRST
from tests.reports.conftest import NOW, FolderGateway, Home


class NoTimes(FolderGateway):
    """A gateway whose listing has no times."""

    def listing(self, folder: Folder) -> list[RemoteFile]:
        return [replace(file, modified_at=None) for file in super().listing(folder)]


@pytest.fixture
def home(home: Home) -> Home:
    home.gateway = NoTimes(home.gateway.folder)
    return home


def test_a_stop_file_rewritten_at_equal_size_counts(
    home: Home, reply: Callable[..., bytes]
) -> None:
    stem = home.accepted(3).stem
    name = stem.replace("SEND", "STOP") + ".csv"
    home.gateway.shows(name, reply(0))
    home.collect_replies()
    home.now += timedelta(days=1)

    home.gateway.shows(name, reply(1))
    home.collect_replies()

    assert home.stop_list() == [FIRST, FIRST + 1]


def test_a_report_dates_from_its_first_listing(home: Home, reply: Callable[..., bytes]) -> None:
    stem = home.accepted(3).stem
    name = stem.replace("SEND", "STOP") + ".csv"
    home.gateway.shows(name, reply(0))
    home.collect_replies()
    before = home.tables()
    home.now += timedelta(days=1)

    assert home.collect_replies() == []

    assert home.tables() == before
    known = home.ledger.reports.get(name)
    assert known
    assert known.modified_at == NOW


def test_the_report_seen_later_is_the_latest(home: Home, ack: Callable[..., bytes]) -> None:
    stem = home.accepted(2).stem
    early, late = (stem.replace("SEND", "ACK").replace("-1200-", hour) + ".csv"
                   for hour in ("-1200-", "-1300-"))  # fmt: skip
    home.gateway.shows(early, ack(2, "2;sent"))
    home.collect(stem)
    home.now += REPORT_SETTLES
    (home.gateway.folder / early).rename(home.gateway.folder / "aside")
    home.gateway.shows(late, ack(2))
    home.collect(stem)
    home.now += REPORT_SETTLES
    (home.gateway.folder / "aside").rename(home.gateway.folder / early)

    home.collect(stem)

    assert home.table("SELECT DISTINCT outcome FROM sms.delivery") == [("delivered",)]
