"""The books balance in the end, after every kind of failure.

`make test` plays one day on which each kind of trouble comes once; `make soak` as many days as its
minutes have room for, on which `SOAK_SEED` decides what goes wrong.
"""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.stack import Stack
from tests import soak
from tests.campaign_folder import write_campaign
from tests.chaos.days import (
    CAMPAIGNS,
    COLLECTORS,
    FIRST,
    FLAGS,
    HEALING,
    SETTINGS,
    VARIABLES,
    Chaos,
)
from tests.chaos.troubles import Troubles
from tests.journeys.conftest import PEOPLE, TEXT, TUESDAY

MINUTES = soak.MINUTES / 2  # the other half is for all that is soaked besides
SEED = 20270302  # of the day in `make test`


@pytest.fixture
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chaos]:
    """Everything up, two schedulers among it, and the campaigns on."""
    seed = soak.SEED if request.node.get_closest_marker("soak") else SEED
    campaigns = tmp_path / "campaigns"
    campaigns.mkdir()
    people = []
    for name, (yaml, first, last) in CAMPAIGNS.items():
        write_campaign(campaigns / name, yaml, PEOPLE % (first, last), TEXT)
        people += range(FIRST + first, FIRST + last + 1)
    with Stack(
        clock=TUESDAY,
        flags=FLAGS,
        changes={"campaigns_folder": str(campaigns), **SETTINGS},
        variables=VARIABLES,
        two_schedulers=True,
    ) as stack:
        stack.unpause(*(f"send__{name}" for name in CAMPAIGNS), *COLLECTORS, "settle_submission")
        yield Chaos(stack, Troubles(stack, random.Random(seed), people))


@pytest.mark.timeout(4 * HEALING)
def test_the_books_balance_after_each_kind_of_failure(
    chaos: Chaos, tell: Callable[[str], None]
) -> None:
    chaos.day_by_the_book()

    found = chaos.faults()

    tell(f"{chaos}: {len(found)} broken promises")
    assert not found, "\n".join(found)
    assert len(chaos.sent) == len(CAMPAIGNS)


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 4 * HEALING)
def test_the_books_balance_after_random_failures(chaos: Chaos, tell: Callable[[str], None]) -> None:
    begun = time.monotonic()
    while not chaos.days or time.monotonic() - begun < MINUTES * 60:
        chaos.day()

    found = chaos.faults()

    tell(f"{chaos}, seed {soak.SEED}: {len(found)} broken promises")
    assert not found, "\n".join([f"SOAK_SEED={soak.SEED}", *found])
    wanted = chaos.days * len(CAMPAIGNS) + chaos.clicked_apart
    assert len(chaos.sent) + len(chaos.broken_off) == wanted
