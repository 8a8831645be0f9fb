"""`sms prepare` gives the same bytes from files as the DAG gives from the warehouse."""

from datetime import datetime
from pathlib import Path

from sms import clock
from sms.campaign.definition import load
from sms.clock import PARIS
from sms.run import offline
from sms_sandbox import Sandbox
from tests.run.by_command import HOUR, RUN, prepared
from tests.world import SANDBOX_ONLY, World, numbers

ZONES = "postcode: postcode\n"


@SANDBOX_ONLY
def test_the_dag_and_the_command_write_the_same_bytes(world: World, tmp_path: Path) -> None:
    numbers = [f"06 39 98 {n // 100:02} {n % 100:02}" for n in range(300)]
    numbers[7] = numbers[3]
    parts = world.prepare(numbers, run=RUN, send_at=HOUR, more="max_recipients_per_file: 120\n")
    made = prepared(world, numbers, tmp_path)["files"]
    assert [file["name"] for file in made] == [f"{part.stem}.csv" for part in parts]
    assert [file["messages"] for file in made] == [100, 100, 99]
    for part, file in zip(parts, made, strict=True):
        ours = (tmp_path / "out" / file["name"]).read_bytes()
        assert ours == (world.run_folder(RUN).path / f"05_{part.stem}.csv").read_bytes()
        assert file["sha256"] == part.sha256


def test_prepare_makes_the_files_that_the_dag_would_upload(world: World, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 3, 3, 6, 0, tzinfo=PARIS))
    at = datetime(2027, 3, 3, 10, 0, tzinfo=PARIS)
    more = ZONES + "local_time: true\n"
    key = "send__tests/manual"
    files = world.prepare(numbers(2), run=key, more=more, living_in=["75001", "97400"], send_at=at)
    recipients = world.folder / "people.csv"
    recipients.write_text(
        "key,msisdn,name,postcode\n"
        + "".join(
            f"k{place},{number},Léa {place},{zip_}\n"
            for place, (number, zip_) in enumerate(zip(numbers(2), ["75001", "97400"], strict=True))
        )
    )
    campaign = load(world.folder / "campaigns" / "tests")
    plan = offline.plan(
        campaign,
        at,
        settings=world.settings,
        run_id="manual",
        service_id="12345",
        planned_at=clock.now(),
    )
    screened = offline.screen(plan, recipients, None, world.settings)
    made = offline.prepare(screened, world.settings, world.folder / "out")

    assert [stem for stem, _ in made.files] == [each.stem for each in files]
