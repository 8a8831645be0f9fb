"""A run's folder, a local folder and memory store the same preparation."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sms.audience.table_files import NO_NUMBERS, TableFile
from sms.campaign import definition
from sms.clock import PARIS
from sms.columnar import parquet
from sms.run import offline, rendered, screened
from sms.run.folder import RunFolder
from sms.run.screened import QueryAnswer, ScreenedCandidates
from sms.run.stores import LocalFolder, Memory
from sms.settings import Settings

AT = datetime(2027, 3, 2, 10, tzinfo=PARIS)
MORE = "max_recipients_per_file: 30\nallowed_countries: [FR, RE]\nnational_numbers: FR\n"
SETTINGS = Settings()


def people() -> pa.Table:
    numbers = [f"+3363998{n:04}" for n in range(100)] + [f"+262692{n:06}" for n in range(40)]
    names = ["Zoé", "Jean; Noël", "x" * 200, None, "Léa"]
    count = len(numbers)
    return pa.table(
        {
            "key": [f"k{n}" for n in range(count)],
            "msisdn": [number if n % 9 else "no number" for n, number in enumerate(numbers)],
            "first_name": [names[n % len(names)] for n in range(count)],
            "store": ["Lyon"] * count,
        }
    )


def nobody(numbers: object) -> object:
    return NO_NUMBERS


@pytest.fixture
def plan(campaign: Path) -> offline.Plan:
    with (campaign / "campaign.yaml").open("a") as out:
        out.write(MORE)
    return offline.plan(definition.load(campaign), AT, settings=SETTINGS)


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run").mkdir()
    parquet.write(folder.candidates, map(parquet.as_text, people().to_batches(17)))
    return folder


@pytest.fixture
def of_a_file(plan: offline.Plan, tmp_path: Path) -> ScreenedCandidates:
    pq.write_table(people(), tmp_path / "people.parquet")
    table = TableFile.open(tmp_path / "people.parquet")
    return screened.screen(plan, table, nobody, SETTINGS)


def test_two_passes_give_the_bytes_of_one(
    plan: offline.Plan, run_folder: RunFolder, of_a_file: ScreenedCandidates, tmp_path: Path
) -> None:
    answer = QueryAnswer(run_folder.candidates, "recipients.sql")
    local, memory = LocalFolder(tmp_path / "out"), Memory()
    local.make_room()

    found = screened.screen(plan, answer, nobody, SETTINGS)
    faults = screened.divide(found, run_folder)
    audience = screened.already_divided(parquet.batches(run_folder.audience))
    by_stages = rendered.render(plan, found.schedule, audience, run_folder, SETTINGS)
    by_command, in_memory = (
        rendered.render(plan, of_a_file.schedule, of_a_file.screenings(), store, SETTINGS)
        for store in (local, memory)
    )

    assert found.schedule == of_a_file.schedule
    assert len(by_stages.files) == 4
    assert by_stages.files == by_command.files == in_memory.files
    for stem in by_stages.files:
        with run_folder.reading_file(stem) as one, local.reading_file(stem) as other:
            assert one.read() == other.read() == memory.files[stem]
    assert by_stages.tally.groups == by_command.tally.groups == in_memory.tally.groups
    faults.add_found(by_stages.tally.faults.found())
    assert {*faults.found()} == {*by_command.tally.faults.found()}


def test_messages_and_excluded_rows_match_in_every_store(
    plan: offline.Plan, run_folder: RunFolder, of_a_file: ScreenedCandidates
) -> None:
    memory, whole = Memory(), Memory()
    screened.divide(of_a_file, memory)
    screened.divide(of_a_file, run_folder)
    audience = screened.already_divided(parquet.batches(run_folder.audience))

    rendered.render(plan, of_a_file.schedule, audience, run_folder, SETTINGS)
    made = rendered.render(plan, of_a_file.schedule, of_a_file.screenings(), whole, SETTINGS)

    kept = pa.Table.from_batches(parquet.batches(run_folder.audience))
    assert kept.to_pylist() == pa.Table.from_batches(memory.audience).to_pylist()
    for stem in made.files:
        rows = pa.Table.from_batches(parquet.batches(run_folder.messages(stem)))
        assert rows.to_pylist() == pa.Table.from_batches(whole.messages[stem]).to_pylist()
    left_out = [
        row["row"]
        for path in (run_folder.excluded, run_folder.unrendered)
        for batch in parquet.batches(path)
        for row in batch.to_pylist()
    ]
    assert sorted(left_out) == [row["row"] for each in whole.excluded for row in each.to_pylist()]


def test_counts_survive_the_runs_folder(
    plan: offline.Plan, run_folder: RunFolder, of_a_file: ScreenedCandidates
) -> None:
    made = rendered.render(plan, of_a_file.schedule, of_a_file.screenings(), Memory(), SETTINGS)

    run_folder.write_counts(made.tally.kept(plan.campaign))

    kept = run_folder.read_counts()
    assert kept.sizes.table.equals(made.tally.sizes.table)
    assert kept.faults == made.tally.faults.found()
    by_country = kept.sizes.by_country
    assert by_country.keys() == {"FR", "RE"}
    assert sum(by_country.values()) == sum(each.segments for each in made.files.values())
