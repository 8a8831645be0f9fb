"""The trigger form: its fields, and the request that its values make."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from sms.campaign.definition import Campaign, Kind
from sms.errors import ConfigurationError
from sms.run.plan import Request
from sms.settings import Settings
from sms_airflow import form
from sms_airflow.documentation import facts

NOTHING: dict[str, Any] = {"dry_run": False, "limit": None, "day": None, "hour": None}


def campaign(**changes: Any) -> Campaign:
    """A marketing campaign of the form's tests."""
    known: dict[str, Any] = {
        "name": "sale",
        "folder": Path("sale"),
        "sql": "SELECT 1",
        "text": "Bonjour {{ first_name }} !\n-20% *samedi* | dimanche",
        "description": "The sale",
        "kind": Kind.MARKETING,
        "sender": "LUMIERE",
        "stop_mention": "STOP 36180",
    }
    return Campaign(**(known | changes))


def field(name: str, of: Campaign, settings: Settings | None = None) -> Param:
    """One field of a campaign's form."""
    return form.params(of, settings or Settings())[name]


def test_every_field_defaults_to_the_scheduled_runs_value() -> None:
    fields = form.params(campaign(), Settings())

    assert {name: each.resolve() for name, each in fields.items()} == {
        **{"campaign": "sale", "day": None, "hour": None, "dry_run": False, "limit": None}
    }


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("campaign", "another"),
        ("day", "15/03/2027"),
        ("day", "2027-02-30"),
        ("hour", "10:37"),
        ("hour", "22:00"),
        ("hour", "10h"),
        ("dry_run", "yes"),
        ("limit", 0),
        ("limit", 2.5),
    ],
)
def test_airflow_itself_refuses_an_invalid_value(name: str, wrong: Any) -> None:
    with pytest.raises(ParamValidationError):
        field(name, campaign()).resolve(wrong)


@pytest.mark.parametrize("schedule", ["30 8 * * 1-6", None])
def test_a_dry_run_warns_that_unpausing_starts_the_schedule(schedule: str | None) -> None:
    said = str(field("dry_run", campaign(schedule=schedule)).schema["description_md"])

    assert ("*Unpause on trigger*" in said) == bool(schedule)
    assert not schedule or f"`{schedule}`" in said


def test_marketing_offers_only_the_operators_open_hours() -> None:
    settings = Settings.model_validate({"window_start": "09:00", "window_end": "20:00"})

    offered = field("hour", campaign(), settings).schema["enum"]

    assert (offered[:3], offered[-1]) == ([None, "09:00", "09:15"], "19:45")


def test_a_service_message_may_take_any_unrepeated_hour() -> None:
    offered = field("hour", campaign(kind=Kind.TRANSACTIONAL)).schema["enum"][1:]

    assert (offered[0], offered[-1], len(offered)) == ("00:00", "23:45", 92)
    assert not [hour for hour in offered if hour.startswith("02")]


def test_an_empty_hour_explains_this_campaigns_default() -> None:
    own = field("hour", campaign(send_at="10:30"))
    none = field("hour", campaign())

    assert own.schema["values_display"] == {"null": "10:30, this campaign's own hour"}
    assert none.schema["values_display"] == {"null": "As soon as allowed"}
    assert "A day needs an hour" not in own.schema["description_md"]
    assert "A day needs an hour" in none.schema["description_md"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "A Sunday or a bank holiday moves on to the next open day."),
        ({"outside_window": "fail"}, "A Sunday or a bank holiday is refused."),
    ],
)
def test_the_day_field_explains_closed_days(changes: dict[str, Any], told: str) -> None:
    assert told in field("day", campaign(**changes)).schema["description_md"]
    service = campaign(kind=Kind.TRANSACTIONAL, **changes)
    assert "Sunday" not in field("day", service).schema["description_md"]


def test_the_facts_are_at_the_top_of_the_form() -> None:
    limited = campaign(
        send_at="10:30",
        spread_over="90 minutes",
        local_time=True,
        proof_to=["+33639980001", "+33639980002"],
        approval={"above": 10000},
        max_recipients=50000,
        max_growth="50%",
        budget=1200.5,
        frequency_cap="2 per 7 days",
    )

    first, *_ = form.params(limited, Settings()).values()

    assert first.schema["description_md"].splitlines() == [
        "| Campaign | The sale |",
        "|---|---|",
        r"| Text | Bonjour {{ first\_name }} ! ↵ -20% \*samedi\* \| dimanche |",
        "| Stop&nbsp;mention | STOP 36180 |",
        "| Sender | LUMIERE |",
        "| Kind | marketing: 08:00-22:00 Paris time, no Sunday, no bank holiday |",
        "| Hour | 10:30 Paris time, spread over 90 minutes, overseas at local time; a closed hour "
        "moves to the next open hour |",
        "| Approval | required for more than 10,000 recipients; "
        "a proof is sent to 2 phones before |",
        "| Limits | `max_recipients` 50,000, `max_growth` 50%, `budget` 1,200.50 EUR, "
        "`frequency_cap` 2 per 7 days |",
        "| Countries | FR |",
    ]


def test_a_service_messages_facts_name_its_missing_features() -> None:
    told = facts(campaign(kind=Kind.TRANSACTIONAL, stop_mention=None), Settings())

    for line in (
        "| Stop&nbsp;mention | none |",
        "| Kind | transactional: at any hour |",
        "| Hour | as soon as allowed |",
        "| Approval | not required |",
        "| Limits | none |",
    ):
        assert line in told


def test_an_untouched_form_asks_for_nothing_special() -> None:
    assert form.request(NOTHING) == Request()


def test_a_day_and_an_hour_are_taken_unchanged() -> None:
    asked = form.request({**NOTHING, "day": "2027-03-15", "hour": "10:15"})

    assert (asked.day, asked.hour, asked.send_at) == (date(2027, 3, 15), "10:15", None)


@pytest.mark.parametrize(
    ("written", "utc_hour"),
    [
        ("2027-03-15T10:00", 9),
        ("2027-03-15 10:00:00", 9),
        ("2027-07-15T10:00", 8),
        ("2027-03-15T10:00:00+00:00", 10),
        ("2027-03-15T10:00:00.000Z", 10),
        ("2027-03-15T10:00-05:00", 15),
    ],
)
def test_send_at_is_paris_time_without_an_offset(written: str, utc_hour: int) -> None:
    asked = form.request({**NOTHING, "send_at": written})

    assert asked.send_at is not None
    assert asked.send_at.astimezone(UTC).hour == utc_hour
    assert asked.send_at.astimezone(UTC) == datetime(
        2027, asked.send_at.month, 15, utc_hour, tzinfo=UTC
    )


@pytest.mark.parametrize("written", ["2027-03-15", "20270315", "tomorrow", "10:00", 20270315])
def test_an_invalid_send_at_is_refused(written: Any) -> None:
    with pytest.raises(ConfigurationError, match="write a date and an hour such as 2027-03-15T10"):
        form.request({**NOTHING, "send_at": written})


def test_a_misspelt_parameter_is_refused_with_the_right_one() -> None:
    form.require_known({**NOTHING, "campaign": "sale", "send_at": None, "openlineage": {}})

    with pytest.raises(
        ConfigurationError, match=r"dryrun is no parameter .* did you mean dry_run\?"
    ):
        form.require_known({"dryrun": True})
