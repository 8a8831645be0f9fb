"""Benchmarks at a tiny size: each runs, writes what it found, and notices a side that cheats."""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import delivery_report, people, prepare, results, waits
from benchmarks.__main__ import MODULES
from benchmarks.__main__ import main as bench_main
from benchmarks.agreement import require_same_messages, require_same_tables
from benchmarks.contest import BENCHMARKS, Contest, Mismatch, Side, SideFailed, python
from benchmarks.results import Result
from tests.airflow_home import ROOT
from tests.openssh import lacking

ROWS = 2_000
NAMES = (
    *("prepare_1m", "prepare_5m", "prepare_1m_vs_bare_floor"),
    *("prepare_1m_vs_plain", "prepare_1m_vs_competent", "prepare_1m_vs_expert"),
    *("gsm_1m", "gsm_1m_foreign", "gsm_1m_vs_translate"),
    *("stop_list_10m", "stop_list_hashed_10m", "extract_1m", "extract_5m", "ack_1m"),
    *("upload_loopback", "upload_10ms", "upload_50ms", "upload_100mbit", "upload_20mbit"),
)
if lacking() and not os.environ.get("CI"):  # a laptop without OpenSSH measures the rest
    NAMES = tuple(name for name in NAMES if not name.startswith("upload"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated data, made once."""
    return tmp_path_factory.mktemp("data")


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_benchmark_is_forgotten_here() -> None:
    for module in MODULES:
        importlib.import_module(f"benchmarks.{module}")

    alone = {"waits_1000"}  # has a test of its own below
    assert set(BENCHMARKS) - set(NAMES) - alone <= {name for name in BENCHMARKS if lacking()}


def test_every_benchmark_runs_and_writes_its_entry(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = bench(*NAMES, "--rows", ROWS, "--rounds", 1, "--data", data, "--results", file)

    assert (done.returncode, done.stderr) == (0, "")
    entries = json.loads(file.read_text())
    assert {entry["name"] for entry in entries} == set(NAMES)
    for entry in entries:
        assert set(entry) == set(Result.__dataclass_fields__) - {"figures"}
        assert entry["seconds"] > 0
        assert entry["peak_mib"] > 10
        assert entry["reference"]
        assert "{" not in entry["reference"]
        assert entry["ratio"] == pytest.approx(
            entry["seconds"] / entry["reference_seconds"], rel=0.3, abs=0.01
        )
        assert entry["name"] in done.stdout
    assert not [path.name for path in data.iterdir() if path.name.startswith(("at-", "unf"))]


def test_waits_are_measured_in_real_triggerers_and_all_of_them_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "POLL", 1.0)

    found = BENCHMARKS["waits_1000"].run(data, 20, 2)

    results.put(found, ["waits_1000"], tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == [found]
    assert found.seconds > 0
    assert found.peak_mib > 100
    assert (found.figures["waits"], found.figures["connections"]) == (20, 1)
    # A stock trigger connects at each look.
    assert found.figures["stock_connections_an_hour_scaled"] >= 3600
    assert 0 < found.figures["resumed_seconds_median"] <= found.figures["resumed_seconds_slowest"]
    assert not [path.name for path in data.iterdir() if path.name.startswith("at-")]


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ({"connections": 2}, "1000 waits took 2 connections, not one"),
        ({"asked": Counter(listing=9, connection=1)}, "not one"),
        ({"asked": Counter(listing=1000)}, "1000 waits took 1000 listings in 9 intervals"),
    ],
)
def test_waits_that_look_more_often_than_one_fail_the_benchmark(spoilt: dict, told: str) -> None:
    vigil = waits.Vigil(
        waits=1000,
        watched=135,
        cpu_seconds=1,
        memory_mib=1,
        asked=Counter(listing=9),
        connections=1,
        listed_bytes=1,
        resumed_after=[1],
    )

    waits.require_one_look_for_all(vigil, 9)
    with pytest.raises(Mismatch, match=told):
        waits.require_one_look_for_all(replace(vigil, **spoilt), 9)


def test_small_measures_do_not_reach_the_committed_results(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PATH", tmp_path / "results.json")
    monkeypatch.setattr(sys, "argv", ["bench", "gsm_1m", "--rows", "200", "--data", str(data)])

    assert bench_main() == 0

    assert not results.PATH.exists()


def test_a_name_that_is_no_benchmark_is_a_wrong_call() -> None:
    done = bench("prepare_2m")

    assert done.returncode == 2
    assert "there is no prepare_2m, only prepare_1m, " in done.stderr


def test_a_report_that_is_stored_otherwise_fails_the_benchmark(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = delivery_report.COMPARED.replace("idstatus::smallint", "6::smallint")
    monkeypatch.setattr(delivery_report, "COMPARED", spoilt)

    with pytest.raises(Mismatch, match="are not in both tables alike"):
        BENCHMARKS["ack_1m"].run(data, ROWS, 1)


def test_a_year_is_filled_and_asked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.year", "--messages", "20000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "365 rows" in done.stdout
    assert "dropping a month" in done.stdout


# What a broken `prepare` could do to its file, by the row that tells.
SPOILT = {
    "a changed letter": ("lines[3] = lines[3].replace(b'Bonjour', b'Bonsoir')", "row 4: "),
    "another number": ("lines[5] = lines[5].replace(b';+33', b';+34', 1)", "row 6: "),
    "a lost row": ("del lines[-1]", "row "),
    "two rows swapped": ("lines[0], lines[1] = lines[1], lines[0]", "row 1: "),
    "an IDREMOTE twice": ("lines[1] = lines[0][:32] + lines[1][32:]", "more than one row"),
    "an IDREMOTE of letters": ("lines[1] = b'z' * 32 + lines[1][32:]", "32 hexadecimal"),
}


@pytest.mark.parametrize(("spoil", "told"), SPOILT.values(), ids=SPOILT.keys())
def test_a_wrong_file_fails_the_benchmark(
    data: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, told: str
) -> None:
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
def test_tables_that_differ_are_told_by_their_rows(other: dict, told: str) -> None:
    table = pa.table({"text": ["a", None, "c"], "parts": [1, 2, 3]})

    require_same_tables(table, table)
    with pytest.raises(Mismatch, match=told):
        require_same_tables(table, pa.table(other))


def test_a_result_takes_its_own_place_and_leaves_the_others(tmp_path: Path) -> None:
    file, names = tmp_path / "results.json", ["one", "two", "three"]

    for name, seconds in (("three", 3.0), ("one", 1.0), ("gone", 9.0), ("one", 2.0)):
        results.put(Result(name, seconds, 1.0, "nothing", 1.0, seconds), names, file)

    assert [(each.name, each.seconds) for each in results.read(file)] == [
        ("one", 2.0),
        ("three", 3.0),
    ]


def test_medians_are_of_rounds_in_turn(tmp_path: Path) -> None:
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


def test_a_child_is_not_charged_with_our_memory(tmp_path: Path) -> None:
    ballast = np.ones(40_000_000)

    small = Side(python("-c", "pass"), makes=tmp_path / "none").run()
    large = Side(python("-c", "bytearray(200 << 20)"), makes=tmp_path / "none").run()

    assert ballast.nbytes > 300 << 20
    assert small.peak_mib < 100 < 200 < large.peak_mib < 300


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    script = "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"
    side = Side(python("-c", script), makes=tmp_path / "none")

    with pytest.raises(SideFailed, match=r"ended with 3\nno such luck"):
        side.run()


def test_only_whole_data_of_the_same_parameters_is_used_again(tmp_path: Path) -> None:
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


def test_data_that_could_not_be_finished_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    kept = people.Kept(tmp_path / "data" / "kept", {})
    with pytest.raises(KeyboardInterrupt):
        kept.make(fail)

    assert not kept.is_whole()
    assert list((tmp_path / "data").iterdir()) == []


def test_the_people_are_as_the_page_says(data: Path) -> None:
    rows = 50_000
    raw = pq.read_table(people.recipients(rows, data))["msisdn"]

    def share(pattern: str) -> float:
        return pc.sum(pc.match_substring_regex(raw, pattern)).as_py() / rows

    assert share(r"^\+33[67]\d{8}$") == pytest.approx(0.60, abs=0.01)
    assert share(r"^0[67]\d{8}$") == pytest.approx(0.20, abs=0.01)
    assert share(r"^0[67]( \d\d){4}$") == pytest.approx(0.10, abs=0.01)
    assert share(r"^0033[67]\d{8}$") == pytest.approx(0.05, abs=0.005)
    assert share(r"^\+([1-24-9]|3[^3])") == pytest.approx(0.03, abs=0.005)


def test_places_become_numbers_alike_here_and_in_the_server(postgres) -> None:
    places = np.arange(0, 5_000_000, 4_999)
    with postgres.connect() as connection:
        asked = f"SELECT {people.numbers_sql('place')} FROM unnest(%s::bigint[]) AS place"
        # Its remainders are written as a parameter's place would be.
        found = connection.execute(asked.replace(" % ", " %% "), [places.tolist()]).fetchall()

    assert [number for (number,) in found] == people.numbers(places).tolist()
    assert len(np.unique(people.numbers(np.arange(1_000_000)))) == 1_000_000
