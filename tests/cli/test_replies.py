"""`sms replies`: replies that may ask to stop, for the operator's decision."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from sms.ledger.ledger import Ledger
from sms.wire.names import ReportKind, ReportName
from sms.wire.reports import read_replies
from tests.command_line import sms

REPORT = ReportName.parse("SMSMO-12345-20260715-1200-spring1.csv")


@pytest.fixture
def ledger(ledger_url) -> Ledger:
    """A ledger with five replies of now, one of which is certain, and one of long ago."""
    ledger = Ledger.connect(ledger_url, actor="test")
    now, long_ago = datetime.now(UTC), datetime.now(UTC) - timedelta(days=40)
    rows = [
        ("+33639980001", now, "Non merci"),
        ("+33639980002", now, "STOP"),
        ("+33639980003", now, "Oui"),
        ("+33639980004", now, "Fin\u2028de \x1b[31mrouge"),
        ("+33639980005", now, "🛑"),
        ("+33639980006", long_ago, "non"),
    ]
    lines = [f"{who};{at:%Y%m%d};{at:%H%M};{text};x" for who, at, text in rows]
    replies = read_replies(BytesIO("\r\n".join([*lines, ""]).encode()), ReportKind.SMSMO)
    assert replies.rows.num_rows == len(rows)
    ledger.reports.load_replies(REPORT, replies.rows)
    return ledger


def test_possible_opt_outs_are_shown_with_number_and_advice(ledger, ledger_url):
    done = sms("replies", "unsure", "--url", ledger_url)

    assert (done.returncode, done.stderr) == (0, "")
    *shown, advice = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in shown] == ["+33639980001", "+33639980005"]
    assert [line.rpartition("  ")[2] for line in shown] == ["Non merci", "🛑"]
    assert 'sms stop-list import FILE --source "by hand"' in advice


def test_older_replies_are_listed_and_entered_numbers_are_hidden(ledger, ledger_url, tmp_path):
    more = sms("replies", "unsure", "--days", "60", "--url", ledger_url)
    assert "+33639980006" in more.stdout

    by_hand = tmp_path / "by_hand.csv"
    by_hand.write_text("msisdn\n+33639980001\n+33639980005\n")
    entered = sms("stop-list", "import", str(by_hand), "--source", "by hand", "--url", ledger_url)
    assert entered.returncode == 0

    left = sms("replies", "unsure", "--url", ledger_url)
    assert left.stdout == "No reply of the last 30 days is unsure.\n"
