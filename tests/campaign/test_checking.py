"""A campaign is checked against the operator's settings before a run."""

from pathlib import Path
from typing import Any

import pytest

from sms.campaign.definition import load
from sms.run import checks
from sms.settings import Settings
from tests.campaign_folder import write_campaign

MENTION = " STOP 36180"  # 11 septets with the space before it
MARKETING = 'kind: marketing\nsender: AUTUMN\nstop_mention: "STOP 36180"\n'
LONG = {"long_sms": True}


def judged(home: Path, text: str = "Bonjour !", more: str = "", **settings: Any) -> list[str]:
    """The faults of a marketing campaign, without the folder's path before each."""
    folder = home / "autumn"
    folder.mkdir()
    (folder / "campaign.yaml").write_text(MARKETING + more)
    (folder / "recipients.sql").write_text("SELECT 1")
    (folder / "message.txt").write_text(text)
    found = checks.faults(load(folder), Settings.model_validate(settings))
    return [str(fault).removeprefix(f"{folder}/") for fault in found]


def test_a_good_campaign_has_no_fault(tmp_path: Path) -> None:
    more = "allowed_countries: [FR, BE]\nbudget: 10\n"
    assert judged(tmp_path, more=more, prices={"FR": 0.05, "BE": 0.08}) == []


def test_a_budget_needs_a_price_for_every_country(tmp_path: Path) -> None:
    more = "budget: 10\nallowed_countries: [FR, RE, BE]\n"

    assert judged(tmp_path, more=more, prices={"FR": 0.05}) == [
        "campaign.yaml, line 4: budget: the budget can't be checked, as the settings' `prices` "
        "lack BE, RE: add the price of one SMS there, or remove the budget"
    ]


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("a" * (160 - len(MENTION)), {}, None),
        ("a" * (161 - len(MENTION)), {}, "message.txt: the text is too long, with the stop "),
        ("a" * (161 - len(MENTION)), LONG, None),
        ("€" * 75, {}, "161 septets in 2 segments, 1 allowed"),
        ("a" * (765 - len(MENTION)), LONG, None),
        ("a" * (766 - len(MENTION)), LONG, "766 septets in 6 segments, 5 allowed: shorten it"),
        ("a" * 150 + MENTION, {}, "161 septets"),
        ("a" * 149 + MENTION, {}, None),  # it stands there already, and is not appended
        ("a" * (160 - len(MENTION) - 1) + "{{ name }}", {}, None),
        ("a" * (160 - len(MENTION)) + "{{ name }}", {}, "the fixed part of the text is too long"),
        ("a" * 150 + "{% if name %}b{% endif %}", {}, "the fixed part of the text is too long"),
        ("a" * 140 + "{% if name %}bbbbbbbbbbbbbbbbbbb{% endif %}", {}, None),
        ("{% set b = 1 %}{{ name }}", {}, None),
        ("я" * 60, {"unicode": True}, "71 UTF-16 units in 2 segments, 1 allowed"),
    ],
)
def test_a_text_without_possible_recipients_is_reported(
    tmp_path: Path, text: str, settings: dict[str, Any], said: str | None
) -> None:
    found = judged(tmp_path, text, **settings)

    assert len(found) == (1 if said else 0)
    assert (said or "") in "".join(found)


def test_a_long_text_says_which_setting_would_allow_it(tmp_path: Path) -> None:
    [short] = judged(tmp_path, "a" * 200)

    assert short.endswith(
        "211 septets in 2 segments, 1 allowed: shorten it, or have long SMS (up to 5) switched on "
        "for your account and say `long_sms: true` in the settings"
    )


def test_characters_missing_from_gsm_are_reported_with_their_line(tmp_path: Path) -> None:
    [fault] = judged(tmp_path, "Bonjour\n李 !", "unsupported_characters: exclude\n")

    assert fault.startswith("message.txt, line 2: GSM 03.38 has nothing for")


@pytest.mark.parametrize(
    ("hour", "outside", "faults"),
    [("19:59", "fail", 0), ("20:00", "fail", 1), ("08:59", "fail", 1), ("20:00", "shift", 0)],
)
def test_outside_window_fail_is_refused_at_a_closed_hour(
    tmp_path: Path, hour: str, outside: str, faults: int
) -> None:
    more = f'outside_window: {outside}\nsend_at: "{hour}"\n'

    found = judged(tmp_path, more=more, window_start="09:00", window_end="20:00")

    assert len(found) == faults
    for fault in found:
        assert fault.startswith("campaign.yaml, line 5: send_at: with `outside_window: fail`")
        assert "the settings open marketing in 09:00-20:00 only" in fault


@pytest.mark.parametrize(
    ("yaml", "countries"),
    [
        (MARKETING + "allowed_countries: [FR, RE, BE]\n", "BE, RE"),
        (MARKETING + "allowed_countries: [BE]\n", "BE"),
        (MARKETING, None),
        (
            MARKETING.replace("STOP 36180", "Refus https://exemple.fr/stop")
            + "allowed_countries: [FR, BE]\n",
            None,
        ),
        (
            MARKETING.replace("STOP 36180", "STOP au +33639980001")
            + "allowed_countries: [FR, BE]\n",
            None,
        ),
        ("kind: transactional\nsender: AUTUMN\nallowed_countries: [FR, BE]\n", None),
    ],
)
def test_a_short_code_opt_out_is_warned_about_abroad(
    tmp_path: Path, yaml: str, countries: str | None
) -> None:
    folder = write_campaign(tmp_path / "autumn", yaml, "SELECT 1", "Bonjour !")

    told = [str(warning) for warning in checks.notes(load(folder))]

    if countries is None:
        assert told == []
    else:
        [warning] = told
        assert warning.startswith(f"{folder}/campaign.yaml, line 3: stop_mention: 'STOP 36180' ")
        assert f"whether numbers of {countries} reach it" in warning
