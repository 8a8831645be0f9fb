"""`sms explain`: the history of one recipient, in the shell."""

import json

import pytest

from tests.command_line import sms


def test_an_unknown_recipient_has_no_history(ledger_url):
    done = sms("explain", "0639980009", "--since", "2027-01-01", "--url", ledger_url)

    assert done.stdout.splitlines() == [
        "+33639980009",
        "No campaign and no message since 2027-01-01 00:00, and no entry of the stop list.",
        "Now: every campaign whose query returns the number would write to it",
    ]
    told = json.loads(sms("explain", "0639980009", "--json", "--url", ledger_url).stdout)
    assert told == {
        "key": None,
        "numbers": [
            {
                "msisdn": "+33639980009",
                "written_to_now": True,
                "refused": None,
                "refused_by": {},
            }
        ],
        "story": [],
        "not_searched": [],
    }


def test_json_has_a_sentence_for_each_event(ledger_url, tmp_path):
    path = tmp_path / "stop.csv"
    path.write_text("msisdn\n+33639980009\n")
    assert sms("stop-list", "import", path, "--source", "crm", "--url", ledger_url).returncode == 0

    found = json.loads(sms("explain", "0639980009", "--json", "--url", ledger_url).stdout)

    [event] = found["story"]
    assert {"at", "what", "sentence", "times"} <= event.keys()
    assert "crm" in event["sentence"]


@pytest.mark.parametrize("spelled", ["01 23 45 67 89", "0899123456", "+44 20 7946 0000"])
def test_a_number_without_sms_is_explained_and_not_refused(ledger_url, spelled):
    done = sms("explain", spelled, "--url", ledger_url)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("Now: not written to: this is a ")


def test_an_unknown_key_has_no_history(ledger_url):
    done = sms("explain", "--key", "C-1042", "--since", "2027-01-01", "--url", ledger_url)

    assert done.stdout.splitlines() == [
        "key C-1042",
        "No campaign and no message since 2027-01-01 00:00, and no entry of the stop list.",
    ]


@pytest.mark.parametrize(
    "wrong",
    [[], ["0639980009", "--key", "k1"], ["Durand"], ["--key", " "], ["--key", "a\udcff"]],
)
def test_a_call_needs_exactly_one_number_or_key(ledger_url, wrong):
    done = sms("explain", *wrong, "--url", ledger_url)

    assert (done.returncode, done.stdout) == (2, "")
