"""Benchmarks at a tiny size: each runs, stores its result, and detects a wrong result.

At full size each is checked in a soak, one round of it, however many minutes that takes.
"""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import contest, delivery_report, people, prepare, results, waits, year
from benchmarks.__main__ import MODULES
from benchmarks.__main__ import main as bench_main
from benchmarks.agreement import require_same_messages, require_same_tables
from benchmarks.contest import BENCHMARKS, Contest, Mismatch, Place, Side, SideFailed, python
from benchmarks.results import Result
from demo.postgres import PostgreSQL
from tests.airflow_home import ROOT
from tests.openssh import lacking

for _module in MODULES:
    importlib.import_module(f"benchmarks.{_module}")

ROWS = 2_000
TIMEOUT = 900  # seconds, many times what a command at this size takes
WAITS = "waits_1000"  # has tests of its own
ALL = [name for name in BENCHMARKS if not lacking() or os.environ.get("CI") or "upload" not in name]
# A benchmark of several sizes is one here, where each has as many rows.
SMALL = {BENCHMARKS[name].prepare: name for name in reversed(ALL) if name != WAITS}
HOURS = 2 * 3600  # seconds, for one at full size


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated data, made once."""
    return tmp_path_factory.mktemp("data")


class Lent:
    """The server of all tests in place of a benchmark's own; what is made there goes."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server
        self._made: list[str] = []
        self.socket_folder, self.url, self.connect = (
            server.socket_folder,
            server.url,
            server.connect,
        )

    def create_database(self, name: str, template: str = "template0") -> None:
        self._server.create_database(name, template)
        self._made.append(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        with self._server.connect() as connection:
            for name in self._made:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def lent(postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """No benchmark starts a server of its own."""
    for module in (contest, year):
        monkeypatch.setattr(module, "PostgreSQL", lambda: Lent(postgres))


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )


def test_every_benchmark_is_registered() -> None:
    sources = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}

    assert {name for name, text in sources.items() if "\n@benchmark(" in text} == set(MODULES)


def unfinished(data: Path) -> list[str]:
    """What a benchmark should have taken away."""
    return [path.name for path in data.iterdir() if path.name.startswith(("at-", "unf"))]


@pytest.mark.usefixtures("lent")
@pytest.mark.parametrize("name", SMALL.values())
def test_every_benchmark_runs_and_writes_its_entry(
    name: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "results.json"
    options = ["--rows", ROWS, "--rounds", 1, "--data", data, "--results", file]
    monkeypatch.setattr(sys, "argv", ["bench", name, *map(str, options)])

    status = bench_main()

    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    [entry] = json.loads(file.read_text())
    assert set(entry) == set(Result.__dataclass_fields__) - {"figures"}
    assert entry["name"] == name
    assert entry["seconds"] > 0
    assert entry["peak_mib"] > 10
    assert entry["reference"]
    assert "{" not in entry["reference"]
    assert entry["ratio"] == pytest.approx(
        entry["seconds"] / entry["reference_seconds"], rel=0.3, abs=0.01
    )
    assert name in printed.out
    assert unfinished(data) == []


def test_the_command_runs_the_named_benchmarks(data: Path, tmp_path: Path) -> None:
    file, names = tmp_path / "results.json", ["gsm_1m", "gsm_1m_foreign"]
    done = bench(*names, "--rows", ROWS, "--rounds", 1, "--data", data, "--results", file)

    assert (done.returncode, done.stderr) == (0, "")
    assert [entry["name"] for entry in json.loads(file.read_text())] == names
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == names


@pytest.mark.soak
@pytest.mark.timeout(HOURS)
@pytest.mark.parametrize("name", ALL)
def test_both_sides_agree_at_full_size(
    name: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    found = BENCHMARKS[name].run(people.DATA, rounds=1)  # Mismatch, or SideFailed

    results.put(found, ALL, tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == [found]
    tell(results.table([found]).splitlines()[1])


VIGIL = waits.Vigil(
    waits=1000,
    watched=135,
    cpu_seconds=1,
    memory_mib=1,
    asked=Counter(listing=9),
    connections=1,
    listed_bytes=1,
    resumed_after=[1],
)


@pytest.fixture
def scene(data: Path, lent: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[waits.Scene]:
    """The gateway and Airflow's database, for twenty waits that look again every two seconds."""
    monkeypatch.setattr(waits, "POLL", 2.0)
    with ExitStack() as stack, waits.scene(Place(data, 20, stack)) as scene:
        yield scene


def test_waits_run_in_real_triggerers_and_all_end(scene: waits.Scene, data: Path) -> None:
    one, many = (scene.keep("verdict", count, 2) for count in (1, 20))

    for vigil, count in ((one, 1), (many, 20)):
        waits.require_one_look_for_all(vigil, 2)
        assert vigil.waits == len(vigil.resumed_after) == count
        assert min(vigil.resumed_after) > 0
        assert vigil.cpu_seconds > 0
        assert vigil.memory_mib > 100


def test_stock_and_sleeping_triggers_run_in_real_triggerers(
    scene: waits.Scene,
) -> None:
    stock, asleep = (scene.keep(kind, 20, 1) for kind in ("stock", "asleep"))

    assert stock.asked["connection"] >= 1  # a stock trigger connects at each look
    assert not asleep.asked
    for vigil in (stock, asleep):
        assert vigil.waits == 20
        assert vigil.memory_mib > 100


def test_the_wait_measurements_become_an_entry(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vigils = {
        ("verdict", 1, 2): replace(VIGIL, waits=1, asked=Counter(listing=2), resumed_after=[3]),
        ("verdict", 20, 2): replace(
            VIGIL, waits=20, cpu_seconds=2, asked=Counter(listing=2), resumed_after=[1, 2, 6]
        ),
        ("stock", 20, 1): replace(VIGIL, waits=20, watched=60, asked=Counter(connection=4)),
        ("asleep", 20, 1): replace(VIGIL, waits=20),
    }

    class Told:
        def keep(self, *asked: object) -> waits.Vigil:
            return vigils[asked]

    monkeypatch.setattr(waits, "scene", lambda place: nullcontext(Told()))
    found = BENCHMARKS[WAITS].run(data, 20, 2)

    results.put(found, [WAITS], tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == [found]
    assert (found.seconds, found.reference_seconds, found.ratio) == (2, 1, 2)
    assert (found.figures["waits"], found.figures["connections"]) == (20, 1)
    assert found.figures["stock_connections_an_hour_scaled"] == 240
    assert found.figures["resumed_seconds_median"] == 2
    assert found.figures["resumed_seconds_slowest"] == 6


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"connections": 2}, "1000 waits took 2 connections, not one"),
        ({"asked": Counter(listing=9, connection=1)}, "not one"),
        ({"asked": Counter(listing=1000)}, "1000 waits took 1000 listings in 9 intervals"),
    ],
)
def test_waits_without_a_shared_poll_fail_the_benchmark(spoilt: dict, told: str) -> None:
    waits.require_one_look_for_all(VIGIL, 9)
    with pytest.raises(Mismatch, match=told):
        waits.require_one_look_for_all(replace(VIGIL, **spoilt), 9)


def test_small_runs_do_not_change_the_committed_results(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PATH", tmp_path / "results.json")
    monkeypatch.setitem(BENCHMARKS, "gsm_1m", replace(BENCHMARKS["gsm_1m"], rounds=1))
    monkeypatch.setattr(sys, "argv", ["bench", "gsm_1m", "--rows", "200", "--data", str(data)])

    assert bench_main() == 0

    assert not results.PATH.exists()


def test_an_unknown_benchmark_name_is_a_usage_error() -> None:
    done = bench("prepare_2m")

    assert done.returncode == 2
    assert "there is no prepare_2m, only prepare_1m, " in done.stderr


@pytest.mark.usefixtures("lent")
def test_a_report_stored_differently_fails_the_benchmark(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = delivery_report.COMPARED.replace("idstatus::smallint", "6::smallint")
    monkeypatch.setattr(delivery_report, "COMPARED", spoilt)

    with pytest.raises(Mismatch, match="are not in both tables alike"):
        BENCHMARKS["ack_1m"].run(data, ROWS, 1)


@pytest.mark.usefixtures("lent")
def test_a_year_of_data_is_loaded_and_queried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["year", "--messages", "20000"])

    year.main()

    printed = capsys.readouterr()
    assert printed.err == ""
    assert "365 rows" in printed.out
    assert "dropping a month" in printed.out


# What a broken `prepare` could do to its file, by the row that tells.
SPOILT = {
    "a changed letter": ("lines[3] = lines[3].replace(b'Bonjour', b'Bonsoir')", "row 4: "),
    "another number": ("lines[5] = lines[5].replace(b';+33', b';+34', 1)", "row 6: "),
    "a lost row": ("del lines[-1]", "row "),
    "two rows swapped": ("lines[0], lines[1] = lines[1], lines[0]", "row 1: "),
    "an IDREMOTE twice": ("lines[1] = lines[0][:32] + lines[1][32:]", "more than one row"),
    "an IDREMOTE of letters": ("lines[1] = b'z' * 32 + lines[1][32:]", "32 hexadecimal"),
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """The side of `sms prepare`, and the folder that it made: not where others look for rests."""
    data = tmp_path_factory.mktemp("ours")
    with ExitStack() as stack:
        side = BENCHMARKS["prepare_1m"].prepare(Place(data, ROWS, stack)).ours
        side.run()
        yield side


@pytest.mark.parametrize(("spoil", "told"), SPOILT.values(), ids=SPOILT.keys())
def test_a_wrong_file_is_detected(ours: Side, spoil: str, told: str) -> None:
    [file] = ours.makes.glob("SEND-*.csv")
    good = file.read_bytes()
    lines = good.splitlines(keepends=True)
    exec(spoil, {"lines": lines})
    file.write_bytes(b"".join(lines))
    try:
        with pytest.raises(Mismatch, match=told):
            ours.check("")
    finally:
        file.write_bytes(good)


def test_a_wrong_file_fails_the_benchmark(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, told = SPOILT["a changed letter"]
    script = (
        "import pathlib, subprocess, sys\n"
        "sms, *arguments = sys.argv[1:]\n"
        "subprocess.run([sms, *arguments], check=True)\n"
        "out = pathlib.Path(arguments[arguments.index('--out') + 1])\n"
        "[file] = out.glob('SEND-*.csv')\n"
        "lines = file.read_bytes().splitlines(keepends=True)\n"
        f"{spoil}\n"
        "file.write_bytes(b''.join(lines))\n"
    )
    monkeypatch.setattr(prepare, "SMS", [*python("-c", script), *prepare.SMS])

    with pytest.raises(Mismatch, match=told):
        BENCHMARKS["prepare_1m"].run(data, ROWS, 1)


def test_a_wrong_script_fails_the_benchmark(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = prepare.PLAIN.read_text(encoding="utf-8")
    careless = tmp_path / "plain.py"
    careless.write_text(rules.replace('people.drop_duplicates("msisdn")', "people"))
    (tmp_path / "campaigns").symlink_to(prepare.CAMPAIGN.parent)
    monkeypatch.setattr(prepare, "PLAIN", careless)

    with pytest.raises(Mismatch, match="the messages differ"):
        BENCHMARKS["prepare_1m_vs_plain"].run(data, ROWS, 1)


def test_equal_files_agree_in_any_number_of_parts(tmp_path: Path) -> None:
    lines = [b"%032x;+33600000000;LUMIERE;Bonjour\r\n" % number for number in range(4)]
    (tmp_path / "expected").write_bytes(b"".join(lines).replace(b"0" * 31, b"f" * 31))
    (tmp_path / "a").write_bytes(b"".join(lines[:1]))
    (tmp_path / "b").write_bytes(b"".join(lines[1:]))

    require_same_messages([tmp_path / "a", tmp_path / "b"], tmp_path / "expected")
    with pytest.raises(Mismatch, match="row 2: b'' where"):
        require_same_messages([tmp_path / "a"], tmp_path / "expected")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"text": ["a", None, "d"], "parts": [1, 2, 3]}, "text differs\n  row 3: 'c' where 'd'"),
        ({"text": ["a", "", "c"], "parts": [1, 2, 3]}, "row 2: None where ''"),
        ({"text": ["a", None, "c"], "parts": [1, 2, 4]}, "parts differs\n  row 3: 3 where 4"),
        ({"text": ["a", None], "parts": [1, 2]}, "3 rows of .* where 2"),
        ({"text": ["a", None, "c"], "part": [1, 2, 3]}, "were expected"),
    ],
)
def test_tables_that_differ_are_reported_by_row(other: dict, told: str) -> None:
    table = pa.table({"text": ["a", None, "c"], "parts": [1, 2, 3]})

    require_same_tables(table, table)
    with pytest.raises(Mismatch, match=told):
        require_same_tables(table, pa.table(other))


def test_a_result_replaces_only_its_own_entry(tmp_path: Path) -> None:
    file, names = tmp_path / "results.json", ["one", "two", "three"]

    for name, seconds in (("three", 3.0), ("one", 1.0), ("gone", 9.0), ("one", 2.0)):
        results.put(Result(name, seconds, 1.0, "nothing", 1.0, seconds), names, file)

    assert [(each.name, each.seconds) for each in results.read(file)] == [
        ("one", 2.0),
        ("three", 3.0),
    ]


def test_medians_come_from_alternating_rounds(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def side(name: str, **more: object) -> Side:
        script = f"open({str(log)!r}, 'a').write({name!r}); print(len(open({str(log)!r}).read()))"
        return Side(python("-c", script), makes=tmp_path / "none", timed_inside=True, **more)

    found = Contest(side("o"), side("r"), "in turn").result("turns", 3)
    assert log.read_text() == "rororo"
    assert (found.seconds, found.reference_seconds, found.ratio) == (4, 3, 1.333)

    log.unlink()
    Contest(side("o"), side("r", most_rounds=1), "once").result("turns", 3)
    assert log.read_text() == "rooo"


def test_a_childs_memory_excludes_its_parents(tmp_path: Path) -> None:
    ballast = np.ones(40_000_000)

    small = Side(python("-c", "pass"), makes=tmp_path / "none").run()
    large = Side(python("-c", "bytearray(200 << 20)"), makes=tmp_path / "none").run()

    assert ballast.nbytes > 300 << 20
    assert small.peak_mib < 100 < 200 < large.peak_mib < 300


def test_a_failing_side_reports_its_reason(tmp_path: Path) -> None:
    script = "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"
    side = Side(python("-c", script), makes=tmp_path / "none")

    with pytest.raises(SideFailed, match=r"ended with 3\nno such luck"):
        side.run()


def test_only_complete_data_of_the_same_parameters_is_reused(tmp_path: Path) -> None:
    made = people.recipients(500, tmp_path)
    first, born = made.read_bytes(), made.stat().st_mtime_ns
    told = made.parent / people.PARAMETERS

    assert people.recipients(500, tmp_path).stat().st_mtime_ns == born
    for spoil in (
        lambda: made.write_bytes(first[:-100]),
        lambda: told.write_text(told.read_text()[:-5]),
        lambda: told.write_text(told.read_text().replace('"rows": 500', '"rows": 501')),
        told.unlink,
        made.unlink,
    ):
        spoil()
        assert people.recipients(500, tmp_path).read_bytes() == first
        assert made.stat().st_mtime_ns > born
        born = made.stat().st_mtime_ns


def test_unfinished_data_leaves_no_file(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    kept = people.Kept(tmp_path / "data" / "kept", {})
    with pytest.raises(KeyboardInterrupt):
        kept.make(fail)

    assert not kept.is_whole()
    assert list((tmp_path / "data").iterdir()) == []


def test_the_generated_recipients_match_the_documentation(data: Path) -> None:
    rows = 50_000
    raw = pq.read_table(people.recipients(rows, data))["msisdn"]

    def share(pattern: str) -> float:
        return pc.sum(pc.match_substring_regex(raw, pattern)).as_py() / rows

    assert share(r"^\+33[67]\d{8}$") == pytest.approx(0.60, abs=0.01)
    assert share(r"^0[67]\d{8}$") == pytest.approx(0.20, abs=0.01)
    assert share(r"^0[67]( \d\d){4}$") == pytest.approx(0.10, abs=0.01)
    assert share(r"^0033[67]\d{8}$") == pytest.approx(0.05, abs=0.005)
    assert share(r"^\+([1-24-9]|3[^3])") == pytest.approx(0.03, abs=0.005)


def test_generated_numbers_match_those_of_postgresql(postgres) -> None:
    places = np.arange(0, 5_000_000, 4_999)
    with postgres.connect() as connection:
        asked = f"SELECT {people.numbers_sql('place')} FROM unnest(%s::bigint[]) AS place"
        # Its remainders are written as a parameter's place would be.
        found = connection.execute(asked.replace(" % ", " %% "), [places.tolist()]).fetchall()

    assert [number for (number,) in found] == people.numbers(places).tolist()
    assert len(np.unique(people.numbers(np.arange(1_000_000)))) == 1_000_000
