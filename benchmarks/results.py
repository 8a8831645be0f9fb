"""The file of results: one entry for each benchmark, in the order of their table."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

PATH = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Result:
    """What a benchmark found: medians, and how they compare with the reference's."""

    name: str
    seconds: float
    peak_mib: float
    reference: str
    reference_seconds: float
    ratio: float  # seconds / reference_seconds, whatever the reference is
    figures: Mapping[str, float] = field(default_factory=dict)  # others, by names of their own


def read(path: Path = PATH) -> list[Result]:
    """The results of a file; none where there is no file."""
    if not path.exists():
        return []
    return [Result(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def put(result: Result, names: Sequence[str], path: Path = PATH) -> None:
    """Write one result into its own place; entries of no known name go."""
    known = {each.name: each for each in read(path)} | {result.name: result}
    entries = [_entry(known[name]) for name in names if name in known]
    unfinished = path.with_name(f"{path.name}.tmp")
    told = json.dumps(entries, indent=1, ensure_ascii=False)
    unfinished.write_text(told + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _entry(result: Result) -> dict[str, object]:
    entry = asdict(result)
    if not result.figures:
        del entry["figures"]
    return entry


def table(results: Iterable[Result]) -> str:
    """The results for people."""
    lines = [f"{'':24}{'seconds':>9}{'peak MiB':>10}{'reference':>11}{'ratio':>8}  against"]
    lines += [
        f"{each.name:24}{each.seconds:9.2f}{each.peak_mib:10.0f}{each.reference_seconds:11.2f}"
        f"{each.ratio:8.3f}  {each.reference}"
        for each in results
    ]
    return "\n".join(lines)
