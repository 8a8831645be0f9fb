"""Reports read again do not re-add a removed number; a new STOP does."""

from datetime import timedelta

from sms.reports.archive import Archived
from sms.reports.collection import load_replies
from tests.factories import FIRST
from tests.reports.conftest import NOW, Home

STOPS = "STOP-12345-20260715-1200-spring1.csv"
REPLIES = "SMSMO-12345-20260715-1200-spring1.csv"


def collect(home: Home, at: int) -> int:
    """What a look brings, so many minutes later."""
    home.now = NOW + timedelta(minutes=at)
    return sum(each.opt_outs for each in home.collect_replies())


def remove(home: Home, number: int) -> None:
    home.now += timedelta(minutes=1)
    home.ledger.stop_list.remove(FIRST + number, reason="asked for messages again")


def test_a_growing_file_does_not_restore_removed_numbers(home, reply):
    home.accepted()
    home.gateway.shows(STOPS, reply(0) + reply(1))
    home.gateway.shows(REPLIES, reply(0, "Stop svp") + reply(1, "merci"))
    collect(home, 0)
    remove(home, 0)

    grown = reply(0) + reply(1) + reply(2)
    home.gateway.shows(STOPS, grown, NOW)
    home.gateway.shows(REPLIES, reply(0, "Stop svp") + reply(1, "merci") + reply(2, "ok"), NOW)

    assert collect(home, 5) == 1
    assert home.stop_list() == [FIRST + 1, FIRST + 2]

    home.gateway.shows(STOPS, grown + reply(0), NOW + timedelta(minutes=5))
    assert collect(home, 10) == 1
    assert home.stop_list() == [FIRST, FIRST + 1, FIRST + 2]


def test_an_archived_file_does_not_restore_removed_numbers(home, reply):
    home.accepted()
    home.gateway.shows(STOPS, reply(0))
    collect(home, 0)
    [(name, place, sha256, size, modified)] = home.table(
        "SELECT name, archive, sha256, size_bytes, modified_at FROM sms.report_file"
    )
    remove(home, 0)

    again = load_replies(
        Archived(name, place, sha256, size, modified, True), home.ledger, home.archive
    )

    assert (again.opt_outs, home.stop_list()) == (0, [])


def test_a_stop_reply_restores_a_removed_number(home, reply):
    home.accepted()
    home.gateway.shows(STOPS, reply(0))
    collect(home, 0)
    remove(home, 0)

    home.gateway.shows(REPLIES, reply(0, "J'ai dit stop", "1400") + reply(0, "STOP !", "1401"))

    assert collect(home, 5) == 1
    assert home.stop_list() == [FIRST]


OTHER = FIRST + 500  # a telephone that nobody wrote to


def from_another(answers: int, hour: str = "1205", kind: str = "STOP") -> bytes:
    """Somebody's answer to the n-th recipient's message, sent from another number."""
    return f"+{OTHER};20260715;{hour};{kind};{answers:032x}\r\n".encode()


def test_the_addressed_and_the_answering_number_both_opt_out(home):
    home.accepted()
    home.gateway.shows(STOPS, from_another(1))
    home.gateway.shows(REPLIES, from_another(2, "1206", "Stoppez") + from_another(0, kind="Oui"))

    assert collect(home, 0) == 3
    assert home.stop_list() == [FIRST + 1, FIRST + 2, OTHER]


def test_a_message_of_another_file_opts_out_nobody_else(home):
    home.accepted()
    unknown = f"+{OTHER};20260715;1205;STOP;{77:032x}\r\n+{OTHER};20260715;1206;STOP;A1;\r\n"
    home.gateway.shows(STOPS, unknown.encode())

    assert collect(home, 0) == 1
    assert home.stop_list() == [OTHER]


def test_only_a_new_answer_restores_a_removed_recipient(home):
    home.accepted()
    known = from_another(1) + from_another(1, "1300")
    home.gateway.shows(STOPS, known)
    collect(home, 0)
    remove(home, 1)
    assert home.stop_list() == [OTHER]

    earlier = from_another(0, "1204")  # so that all is read from the beginning
    home.gateway.shows(STOPS, earlier + known, NOW)
    assert collect(home, 5) == 1
    assert home.stop_list() == [FIRST, OTHER]

    home.gateway.shows(STOPS, earlier + known + from_another(1, "1400"), NOW)
    assert collect(home, 10) == 1
    assert home.stop_list() == [FIRST, FIRST + 1, OTHER]
