"""A campaign's limits: each stops the run before its upload, with one sentence."""

from pathlib import Path

import pytest

from sms import yaml_files
from sms.campaign.definition import Campaign, CampaignFile
from sms.errors import LimitTripped
from sms.run.limits import Balance, Cost, Run, require, standing, tripped

YAML = 'kind: marketing\nsender: LIMITS\nstop_mention: "STOP 36180"\n'
PRICES = {"FR": 0.045, "BE": 0.08}
RUN = Run(
    candidates=1000,
    audience=900,
    excluded={"malformed_msisdn": 40, "missing_key": 10, "opted_out": 50},
    segments={"FR": 1000},
    earlier=(500, 600, 400),
)


def campaign(limit: str) -> Campaign:
    found = yaml_files.read(YAML + limit, CampaignFile)
    assert found.value, found.faults
    rest = {"name": "sale", "folder": Path("sale"), "sql": "SELECT 1", "text": "Bonjour"}
    return Campaign(**found.value.model_dump(), **rest)


def told_of(limit: str, run: Run = RUN, prices: dict[str, float] = PRICES) -> str:
    """What stops the run, or nothing."""
    return "; ".join(tripped(campaign(limit), run, Cost.of(run.segments, prices, "EUR")))


@pytest.mark.parametrize(
    ("stops", "passes", "told"),
    [
        (
            "max_recipients: 899",
            "max_recipients: 900",
            "900 recipients are more than max_recipients, 899",
        ),
        (
            "min_recipients: 901",
            "min_recipients: 900",
            "900 recipients are fewer than min_recipients, 901",
        ),
        (
            "max_growth: 49%",
            "max_growth: 50%",
            "900 recipients are 50% more than the largest of the last 3 runs, 600: "
            "max_growth is 49%",
        ),
        (
            "max_invalid_share: 4.9%",
            "max_invalid_share: 5%",
            "50 of 1,000 candidates without a usable number or key, 5.0%: "
            "max_invalid_share is 4.9%",
        ),
        ("max_segments: 999", "max_segments: 1000", "1,000 SMS are more than max_segments, 999"),
        ("budget: 44.99", "budget: 45", "45.00 EUR is more than the budget, 44.99 EUR"),
    ],
)
def test_each_limit_stops_only_what_exceeds_it(stops: str, passes: str, told: str) -> None:
    assert told_of(stops) == told
    assert told_of(passes) == ""


def test_every_exceeded_limit_is_reported() -> None:
    sale = campaign("max_recipients: 1\nmax_segments: 1\nbudget: 1")

    with pytest.raises(LimitTripped, match="sale stops before its upload: 900") as stopped:
        require(sale, RUN, Cost.of(RUN.segments, PRICES, "EUR"))

    assert len(stopped.value.tripped) == 3
    assert not stopped.value.retryable


def test_a_first_run_has_no_growth() -> None:
    first = Run(candidates=9, audience=9, excluded={}, segments={"FR": 9})

    assert told_of("max_growth: 0%", first) == ""


def test_a_budget_without_a_price_stops_the_run() -> None:
    told = told_of("budget: 1000", prices={"BE": 0.08})

    assert told == "the budget can't be checked: the settings' `prices` lack FR"


def test_a_cost_names_its_missing_prices() -> None:
    assert str(Cost.of({"FR": 1000, "BE": 10}, PRICES, "EUR")) == "45.80 EUR"
    lacking = Cost.of({"FR": 1000, "CH": 10, "LU": 0}, PRICES, "EUR")
    assert str(lacking) == "45.00 EUR, without CH, which have no price in the settings"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("max_growth: 0.5", "line 4: max_growth: 0.5 is no share: write a percentage"),
        ("max_invalid_share: five", "write a percentage, such as 50%"),
        ("max_invalid_share: 150%", "150% is more than all"),
        ("frequency_cap: twice a week", "write how often in how many days, such as `2 per 7 days`"),
        ("frequency_cap: 0 per 7 days", "is no frequency"),
        ("budget: 0", "greater than 0"),
        ("max_recipients: 10\nmin_recipients: 11", "11 is more than max_recipients (10)"),
        ("approval: sometimes", "write `always`, `never`, or `{above: 10000}`"),
        ("approval: {above: 0}", "is no approval"),
        ("approval: {above: 1, below: 3}", "is no approval"),
        ("suppress_after_failures: 0", "greater than or equal to 1"),
    ],
)
def test_a_meaningless_limit_is_refused_with_its_line(written: str, told: str) -> None:
    found = yaml_files.read(YAML + written, CampaignFile)

    assert found.value is None
    [fault] = found.faults
    assert told in f"line {fault.line}: {fault.problem}"


def test_limits_survive_the_plan_on_disk() -> None:
    limits = "max_growth: 12.5%\nfrequency_cap: 2 per 7 days\nbudget: 10.5\n"
    written = campaign(limits + "approval: {above: 99}")

    kept = Campaign.model_validate_json(written.model_dump_json())

    assert (kept.max_growth, kept.frequency_cap, kept.budget) == (0.125, (2, 7), 10.5)
    assert kept.approval == 100


def test_a_limit_of_zero_is_one() -> None:
    one = Run(candidates=1, audience=1, excluded={"landline": 1}, segments={"FR": 1}, earlier=(0,))

    assert told_of("max_growth: 0%", one) == (
        "1 recipient is 0% more than the largest of the last 1 run, 0: max_growth is 0%"
    )
    assert told_of("max_invalid_share: 0%", one) == (
        "1 of 1 candidate without a usable number or key, 100.0%: max_invalid_share is 0.0%"
    )
    empty = Run(candidates=0, audience=0, excluded={}, segments={})
    assert told_of("max_invalid_share: 0%", empty) == ""


@pytest.mark.parametrize(
    ("balance", "told"),
    [
        (45.0, ""),
        (
            44.5,
            "45.00 EUR is more than the account's balance, 44.50: the provider would send only a "
            "part, or nothing (R8)",
        ),
        (
            -1.0,
            "45.00 EUR is more than the account's balance, -1.00: the provider would send only a "
            "part, or nothing (R8)",
        ),
        (None, ""),
    ],
)
def test_a_balance_must_pay_for_the_run(balance: float | None, told: str) -> None:
    cost = Cost.of(RUN.segments, PRICES, "EUR")

    assert "; ".join(tripped(campaign(""), RUN, cost, Balance(balance))) == told
    free = Cost.of({}, PRICES, "EUR")
    assert list(tripped(campaign(""), RUN, free, Balance(balance))) == []


def test_a_balance_below_one_is_a_limit_too() -> None:
    cost = Cost.of({"FR": 20}, PRICES, "EUR")  # 0.90

    with pytest.raises(LimitTripped, match=r"0\.90 EUR is more than the account's balance, 0\.50"):
        require(campaign(""), RUN, cost, Balance(0.5))


def test_every_missing_price_is_named() -> None:
    cost = Cost.of({"LU": 1, "CH": 1, "FR": 3}, {"FR": 0.05}, "EUR")

    assert (cost.amount, cost.unpriced) == (0.15, ("CH", "LU"))
    assert Cost.of({"FR": 1}, {"FR": 0.0000014}, "EUR").amount == 0.000001
    assert str(cost) == "0.15 EUR, without CH, LU, which have no price in the settings"
    assert list(tripped(campaign("budget: 1"), RUN, cost)) == [
        "the budget can't be checked: the settings' `prices` lack CH, LU"
    ]


LIMITS = """\
max_recipients: 1000
min_recipients: 100
max_growth: 50%
max_invalid_share: 5%
max_segments: 2000
budget: 90
frequency_cap: 2 per 7 days
suppress_after_failures: 3
"""


def test_each_limit_stands_beside_the_run() -> None:
    excluded = {**RUN.excluded, "frequency_cap": 1234, "failing_number": 5}
    run = Run(1000, 900, excluded, RUN.segments, RUN.earlier)

    stood = standing(campaign(LIMITS), run, Cost.of(run.segments, PRICES, "EUR"))

    assert [(key, this) for key, _, this in stood] == [
        ("max_recipients", "900 (90% of it)"),
        ("min_recipients", "900 (900% of it)"),
        ("max_growth", "+50% (the largest before was 600)"),
        ("max_invalid_share", "5.0% (50)"),
        ("max_segments", "1,000 (50% of it)"),
        ("budget", "45.00 (50% of it)"),
        ("frequency_cap", "1,234 left out"),
        ("suppress_after_failures", "5 left out"),
    ]


def test_a_limit_that_has_nothing_to_compare_says_so() -> None:
    empty = Run(candidates=0, audience=0, excluded={"landline": 1}, segments={"FR": 1})
    grown = Run(candidates=4, audience=4, excluded={}, segments={}, earlier=(0,))

    stood = {
        key: this
        for key, _, this in standing(campaign(LIMITS), empty, Cost.of({"FR": 1}, {}, "EUR"))
    }
    then = {key: this for key, _, this in standing(campaign(LIMITS), grown, Cost.of({}, {}, "EUR"))}

    only = standing(campaign("max_segments: 2000"), RUN, Cost.of({}, {}, "EUR"))
    assert [(key, this) for key, _, this in only] == [("max_segments", "1,000 (50% of it)")]
    assert stood["max_growth"] == "no run to compare with"
    assert stood["max_invalid_share"] == "100.0% (1)"
    assert stood["budget"] == "not known"
    assert stood["frequency_cap"] == stood["suppress_after_failures"] == "0 left out"
    assert then["max_growth"] == "+300% (the largest before was 0)"
