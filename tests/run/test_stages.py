"""Stages that run again after a change of their campaign."""

from sms.columnar import parquet
from sms.run import stages
from tests.world import SANDBOX_ONLY, World, numbers

ZONES = "postcode: postcode\n"

pytestmark = SANDBOX_ONLY


def test_rendering_again_may_empty_the_first_file(world: World) -> None:
    plan = world.plan(more=ZONES)
    folder = world.run_folder("one")
    rows = [
        (f"k{at}", number, name, zip_)
        for at, (number, name, zip_) in enumerate(
            zip(numbers(3), ["x" * 120, "Léa", "Zoé"], ["75001", "67000", "97400"], strict=True)
        )
    ]
    stages.extract([parquet.from_rows(["key", "msisdn", "name", "postcode"], rows)], folder)
    stages.screen(plan, folder, world.ledger, world.settings)
    stages.render(plan, folder, world.ledger, world.settings)
    assert len(world.ledger.submissions.of_run("one")) == 3
    world.text = "Bonjour {{ name }}, à samedi et encore un peu plus tard si cela vous va !"
    plan = world.plan(more=ZONES)

    stages.render(plan, folder, world.ledger, world.settings)

    assert [each.messages for each in world.ledger.submissions.of_run("one")] == [1, 1]
