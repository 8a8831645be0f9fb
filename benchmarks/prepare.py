"""`sms prepare` as people call it: a whole process, from Parquet to the file that is uploaded."""

import hashlib
import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import phonenumbers

from benchmarks import people
from benchmarks.agreement import require_same_messages
from benchmarks.contest import Contest, Mismatch, Place, Side, benchmark, python

HERE = Path(__file__).parent
CAMPAIGN = HERE / "campaigns" / "load"
SCRIPTS = ("floor", "plain", "competent", "expert")
FLOOR, PLAIN, COMPETENT, EXPERT = (HERE / f"{name}.py" for name in SCRIPTS)
STOP_LIST = 1_000_000  # numbers; fewer where there are fewer recipients
AT = "2027-03-02T10:00"
SMS: list[str | Path] = [Path(sys.executable).with_name("sms")]
EXPECTED = "expected.csv"
LIBRARIES = ("sms.cli.main", "sms.run.offline", "sms.cli.terminal")  # what `sms prepare` loads


@benchmark("prepare_5m", rows=5_000_000, rounds=3)
@benchmark("prepare_1m", rows=1_000_000)
def prepare_and_floor(place: Place) -> Contest:
    """How much more than the least that must be done, by a process with the same libraries."""
    return _and_floor(place, LIBRARIES, "floor: the same libraries; only streams, joins, writes")


@benchmark("prepare_1m_vs_bare_floor", rows=1_000_000)
def prepare_and_bare_floor(place: Place) -> Contest:
    """The same where the floor loads pyarrow alone, so that our start-up counts, too."""
    return _and_floor(place, (), "floor: pyarrow alone; only streams, joins, writes")


def _and_floor(place: Place, libraries: tuple[str, ...], told: str) -> Contest:
    load = _Load(place)
    size = load.expected.stat().st_size
    out = place.folder / "floor.csv"

    def check(said: str) -> None:
        if out.stat().st_size != size:
            raise Mismatch(f"the floor wrote {out.stat().st_size} bytes, and we {size}")

    command = python(FLOOR, load.recipients, out, str(size), *libraries)
    return Contest(load.ours(), Side(command, makes=out, check=check), told)


@benchmark("prepare_1m_vs_plain", rows=1_000_000)
def prepare_and_plain(place: Place) -> Contest:
    """How much less than what most would write; it takes minutes, so it runs once."""
    load = _Load(place)
    told = "plain.py: pandas, a function for each row (one round)"
    return Contest(load.ours(), load.script(PLAIN, most_rounds=1), told)


@benchmark("prepare_1m_vs_competent", rows=1_000_000)
def prepare_and_competent(place: Place) -> Contest:
    """How much less than what a careful person would write without columns."""
    load = _Load(place)
    told = "competent.py: by row; streams, sets, str.translate, phonenumbers (one round)"
    return Contest(load.ours(), load.script(COMPETENT, most_rounds=1), told)


@benchmark("prepare_1m_vs_expert", rows=1_000_000)
def prepare_and_expert(place: Place) -> Contest:
    """How much less than the quickest that we could write without columns."""
    load = _Load(place)
    told = "expert.py: the same with short cuts for French numbers (one round)"
    return Contest(load.ours(), load.script(EXPERT, most_rounds=1), told)


def messages(place: Place) -> Path:
    """A file as the gateway gets it."""
    return _Load(place).expected


class _Load:
    """Recipients, a stop list, and the messages that must come of them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.recipients = people.recipients(place.rows, place.data)
        size = min(STOP_LIST, place.rows)
        self.stop_list = people.stop_list(place.rows, size, place.data)

    def ours(self) -> Side:
        """The command, with its defaults."""
        out = self.place.folder / "prepared"
        options = ["--recipients", self.recipients, "--stop-list", self.stop_list, "--at", AT]
        command = [*SMS, "prepare", CAMPAIGN, *options, "--out", out]
        return Side(command, makes=out, check=lambda said: self._check_prepared(out))

    def script(self, script: Path, most_rounds: int | None = None) -> Side:
        """A script that makes the same."""
        out = self.place.folder / "script.csv"
        return Side(
            self._command(script, out),
            makes=out,
            check=lambda said: require_same_messages([out], self.expected),
            most_rounds=most_rounds,
        )

    @cached_property
    def expected(self) -> Path:
        """The messages as the expert's script makes them, once for all rounds of all benchmarks.

        It shares no code with us; that the plain script makes the same is checked where it runs.
        """
        makers = [EXPERT, people.HERE / "people.py", *sorted(CAMPAIGN.iterdir())]
        source = hashlib.sha256(b"".join(path.read_bytes() for path in makers)).hexdigest()
        parameters = {"source": source, "phonenumbers": phonenumbers.__version__}
        kept = people.Kept(self.place.data / f"expected-{self.place.rows}", parameters)
        if not kept.is_whole():
            kept.make(
                lambda folder: subprocess.run(
                    self._command(EXPERT, folder / EXPECTED),
                    check=True,
                    stdin=subprocess.DEVNULL,
                )
            )
        return kept.folder / EXPECTED

    def _command(self, script: Path, out: Path) -> list[str | Path]:
        return python(script, self.recipients, self.stop_list, out)

    def _check_prepared(self, out: Path) -> None:
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        require_same_messages([out / file["name"] for file in summary["files"]], self.expected)
        if summary["messages"] + sum(summary["excluded"].values()) != self.place.rows:
            raise Mismatch("somebody is neither in a file nor left out")
