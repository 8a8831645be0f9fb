"""What stops an accident: limits that a campaign sets itself, judged before anything is uploaded.

What belongs here: the limits of a whole run. Whoever is left out one by one has a Reason
(`sms.audience.screening`). A budget that can't be judged, because a price is missing, stops the
run; a first run has not grown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sms.audience.screening import Reason
from sms.campaign.definition import Campaign
from sms.errors import LimitTripped
from sms.words import are, count

# What tells of a broken source rather than of people: the number could not be read.
INVALID = frozenset(
    {
        *(Reason.MISSING_KEY, Reason.OVERSIZED_KEY, Reason.MISSING_MSISDN),
        *(Reason.MALFORMED_MSISDN, Reason.FLOAT_MSISDN, Reason.TOO_SHORT_MSISDN),
        *(Reason.TOO_LONG_MSISDN, Reason.LANDLINE, Reason.PREMIUM, Reason.NOT_A_MOBILE),
        *(Reason.OVERSEAS_AS_METROPOLITAN, Reason.NATIONAL_MSISDN),
    }
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run comes to: people, SMS by country, and the audiences of the runs before it."""

    candidates: int
    audience: int
    excluded: Mapping[str, int]
    segments: Mapping[str, int]  # SMS by country
    earlier: Sequence[int] = ()  # messages of the campaign's latest runs that sent


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run costs by the operator's price list; `unpriced` are countries that it lacks."""

    amount: float
    currency: str
    unpriced: tuple[str, ...] = ()

    @classmethod
    def of(cls, segments: Mapping[str, int], prices: Mapping[str, float], currency: str) -> "Cost":
        """The cost of so many SMS by country."""
        amount = sum(prices.get(country, 0.0) * count for country, count in segments.items())
        lacking = {country for country, count in segments.items() if count} - prices.keys()
        # Without the dust of binary fractions: three times 0.05 is 0.15, and not a little more.
        return cls(round(amount, 6), currency, tuple(sorted(lacking)))

    def __str__(self) -> str:
        told = f"{self.amount:,.2f} {self.currency}"
        if self.unpriced:
            told += f", without {', '.join(self.unpriced)}, which the settings give no price for"
        return told


@dataclass(frozen=True, slots=True)
class Balance:
    """What the provider's account holds, or why that is not known."""

    amount: float | None
    why: str = ""


UNASKED = Balance(None, "there is no connection sms_balance")


def require(campaign: Campaign, run: Run, cost: Cost, balance: Balance = UNASKED) -> None:
    """LimitTripped, with a sentence for each limit that this run breaks."""
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
                f"{_recipients(people)} {growth:.0%} more than the most of the last "
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
        yield f"{total:,} SMS {are(total)} more than max_segments, {campaign.max_segments:,}"
    if campaign.budget is not None:
        if cost.unpriced:
            yield (
                f"the budget can't be judged: the settings' `prices` lack "
                f"{', '.join(cost.unpriced)}"
            )
        elif cost.amount > campaign.budget:
            yield f"{cost} is more than the budget, {campaign.budget:,.2f} {cost.currency}"
    if balance.amount is not None and cost.amount > max(balance.amount, 0):
        yield (
            f"{cost} is more than the account's balance, {balance.amount:,.2f}: the provider would "
            "send a part, or nothing (R8)"
        )


def _recipients(people: int) -> str:
    return f"{count(people, 'recipient')} {are(people)}"


def standing(campaign: Campaign, run: Run, cost: Cost) -> Iterator[tuple[str, str, str]]:
    """Each limit of the campaign: its key, its value, and how near this run is to it."""
    invalid = sum(rows for reason, rows in run.excluded.items() if reason in INVALID)
    here = {
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
        yield key, value, here[key]


def _part_of(amount: float, limit: float | None) -> str:
    told = f"{amount:,}" if isinstance(amount, int) else f"{amount:,.2f}"
    return f"{told} ({amount / limit:.0%} of it)" if limit else told


def _grown(run: Run) -> str:
    if not run.earlier:
        return "no run to compare with"
    most = max(run.earlier)
    return f"{run.audience / max(most, 1) - 1:+.0%} (the most before was {most:,})"
