"""The campaign's own limits on a run, checked before anything is uploaded.

What belongs here: limits of a whole run. A single recipient who is left out has a Reason
(`sms.audience.screening`). A missing price stops a run that has a budget. `max_growth` does not
apply to a first run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sms.audience.screening import Reason
from sms.campaign.definition import Campaign
from sms.errors import LimitTripped
from sms.words import are, count

# Reasons that point to a broken source: the number or key is unusable.
INVALID = frozenset(
    {
        *(Reason.MISSING_KEY, Reason.FLOAT_KEY, Reason.OVERSIZED_KEY, Reason.MISSING_MSISDN),
        *(Reason.MALFORMED_MSISDN, Reason.FLOAT_MSISDN, Reason.TOO_SHORT_MSISDN),
        *(Reason.TOO_LONG_MSISDN, Reason.LANDLINE, Reason.PREMIUM, Reason.NOT_A_MOBILE),
        *(Reason.OVERSEAS_AS_METROPOLITAN, Reason.NATIONAL_MSISDN),
    }
)


@dataclass(frozen=True, slots=True)
class Run:
    """The size of a run: recipients, SMS by country, and the sizes of the runs before it."""

    candidates: int
    audience: int
    excluded: Mapping[str, int]
    segments: Mapping[str, int]  # SMS by country
    earlier: Sequence[int] = ()  # messages of the campaign's latest runs that sent


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run by the settings' `prices`; `unpriced` are countries without a price."""

    amount: float
    currency: str
    unpriced: tuple[str, ...] = ()

    @classmethod
    def of(cls, segments: Mapping[str, int], prices: Mapping[str, float], currency: str) -> "Cost":
        """The cost of so many SMS by country."""
        amount = sum(prices.get(country, 0.0) * count for country, count in segments.items())
        lacking = {country for country, count in segments.items() if count} - prices.keys()
        # Without rounding errors of binary fractions: three times 0.05 is exactly 0.15.
        return cls(round(amount, 6), currency, tuple(sorted(lacking)))

    def __str__(self) -> str:
        text = f"{self.amount:,.2f} {self.currency}"
        if self.unpriced:
            text += f", without {', '.join(self.unpriced)}, which have no price in the settings"
        return text


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance of the provider's account, or why it is not known."""

    amount: float | None
    why: str = ""


UNASKED = Balance(None, "there is no connection sms_balance")


def require(campaign: Campaign, run: Run, cost: Cost, balance: Balance = UNASKED) -> None:
    """Raise LimitTripped, with a sentence for each limit that this run breaks."""
    if sentences := tuple(tripped(campaign, run, cost, balance)):
        raise LimitTripped(campaign.name, sentences)


def tripped(campaign: Campaign, run: Run, cost: Cost, balance: Balance = UNASKED) -> Iterator[str]:
    """A sentence for each limit that this run breaks."""
    people, total = run.audience, sum(run.segments.values())
    if campaign.max_recipients is not None and people > campaign.max_recipients:
        yield f"{_recipients(people)} more than max_recipients, {campaign.max_recipients:,}"
    if campaign.min_recipients is not None and people < campaign.min_recipients:
        yield f"{_recipients(people)} fewer than min_recipients, {campaign.min_recipients:,}"
    if campaign.max_growth is not None and run.earlier:
        before = max(run.earlier)
        if people > before * (1 + campaign.max_growth):
            growth = people / max(before, 1) - 1
            yield (
                f"{_recipients(people)} {growth:.0%} more than the largest of the last "
                f"{count(len(run.earlier), 'run')}, {before:,}: max_growth is "
                f"{campaign.max_growth:.0%}"
            )
    if campaign.max_invalid_share is not None and run.candidates:
        invalid = sum(rows for reason, rows in run.excluded.items() if reason in INVALID)
        if invalid / run.candidates > campaign.max_invalid_share:
            yield (
                f"{invalid:,} of {count(run.candidates, 'candidate')} without a usable number or "
                f"key, {invalid / run.candidates:.1%}: max_invalid_share is "
                f"{campaign.max_invalid_share:.1%}"
            )
    if campaign.max_segments is not None and total > campaign.max_segments:
        yield f"{total:,} SMS are more than max_segments, {campaign.max_segments:,}"
    if campaign.budget is not None:
        if cost.unpriced:
            yield (
                f"the budget can't be checked: the settings' `prices` lack "
                f"{', '.join(cost.unpriced)}"
            )
        elif cost.amount > campaign.budget:
            yield f"{cost} is more than the budget, {campaign.budget:,.2f} {cost.currency}"
    if balance.amount is not None and cost.amount > max(balance.amount, 0):
        yield (
            f"{cost} is more than the account's balance, {balance.amount:,.2f}: the provider would "
            "send only a part, or nothing (R8)"
        )


def _recipients(people: int) -> str:
    return f"{count(people, 'recipient')} {are(people)}"


def standing(campaign: Campaign, run: Run, cost: Cost) -> Iterator[tuple[str, str, str]]:
    """Each limit of the campaign: its key, its value, and this run's value."""
    invalid = sum(rows for reason, rows in run.excluded.items() if reason in INVALID)
    of_run = {
        "max_recipients": _part_of(run.audience, campaign.max_recipients),
        "min_recipients": _part_of(run.audience, campaign.min_recipients),
        "max_growth": _grown(run),
        "max_invalid_share": f"{invalid / max(run.candidates, 1):.1%} ({invalid:,})",
        "max_segments": _part_of(sum(run.segments.values()), campaign.max_segments),
        "budget": "not known" if cost.unpriced else _part_of(cost.amount, campaign.budget),
        "frequency_cap": f"{run.excluded.get(Reason.FREQUENCY_CAP, 0):,} left out",
        "suppress_after_failures": f"{run.excluded.get(Reason.FAILING_NUMBER, 0):,} left out",
    }
    for key, value in campaign.limits.items():
        yield key, value, of_run[key]


def _part_of(amount: float, limit: float | None) -> str:
    text = f"{amount:,}" if isinstance(amount, int) else f"{amount:,.2f}"
    return f"{text} ({amount / limit:.0%} of it)" if limit else text


def _grown(run: Run) -> str:
    if not run.earlier:
        return "no run to compare with"
    most = max(run.earlier)
    return f"{run.audience / max(most, 1) - 1:+.0%} (the largest before was {most:,})"
