"""Frames give the same bytes as `sms prepare` gives for the same table in a file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sms as product
from tests.command_line import sms
from tests.frames.conftest import AT, Campaigns

VARIANTS = """\
variants:
  warm: {text: message_warm.txt, weight: 70%}
  short: {text: message_short.txt, weight: 30%}
control_group: 10%
"""
TEXTS = {"warm": "Bonjour {{ first_name }} !", "short": "-20% chez {{ store }}"}
ABROAD = {"key": "abroad", "msisdn": "+32470123456", "first_name": "Lou", "store": "Lille"}
ISLAND = {"key": "island", "msisdn": "+262692123456", "first_name": "Lou", "store": "Lille"}


def with_rows(frame: pd.DataFrame, *rows: dict[str, str]) -> pd.DataFrame:
    return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True)


def by_the_command(
    campaign: Path, recipients: Path, stop_list: Path, out: Path
) -> dict[str, bytes]:
    done = sms(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", AT, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    return content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CAMPAIGNS = {
    "one text": ("", None),
    "two texts and a control group": (VARIANTS, TEXTS),
    "several countries": ("allowed_countries: [FR, BE, RE]\nnational_numbers: FR\n", None),
    "hours of where people are": (
        "local_time: true\nallowed_countries: [FR, BE, RE]\nnational_numbers: FR\n",
        None,
    ),
    "several files": ("max_recipients_per_file: 15\n", None),
}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize(("more", "texts"), CAMPAIGNS.values(), ids=CAMPAIGNS)
def test_a_frame_gives_the_commands_bytes(
    campaign: Campaigns,
    people: pd.DataFrame,
    stopped: pd.DataFrame,
    tmp_path: Path,
    more: str,
    texts: dict[str, str] | None,
    kind: str,
) -> None:
    folder = campaign(more, texts=texts)
    people = with_rows(people, ABROAD, ISLAND)
    for name, frame in {"people": people, "stop": stopped}.items():
        if kind == "csv":
            frame.to_csv(tmp_path / f"{name}.csv", index=False)
        else:
            frame.to_parquet(tmp_path / f"{name}.parquet")
    files = (tmp_path / f"{name}.{kind}" for name in ("people", "stop"))

    wanted = by_the_command(folder, *files, tmp_path / "command")
    made = product.prepare(folder, people, stopped, AT)
    made.write(tmp_path / "frames")

    assert content(tmp_path / "frames") == wanted
    sent = {name for name in wanted if name.startswith("SEND-")}
    assert {*made.files["file"]} == sent
    assert all(made.content(name) == wanted[name] for name in sent)
    assert made.files["bytes"].tolist() == [len(wanted[name]) for name in made.files["file"]]


TYPED = "{{ first_name }}: {{ points + 1 }} {{ 'VIP' if vip }} {{ amount }} {{ day }} {{ seen }}"


def typed() -> pd.DataFrame:
    hours = pd.date_range("2027-01-01 11:30", periods=6, freq="h", tz="America/Martinique")
    return pd.DataFrame(
        {
            "key": pd.array([11, 12, 13, 14, None, 16], dtype="Int64"),
            "msisdn": [33639980100 + n for n in range(6)],
            "first_name": pd.Categorical(["Zoé", "Léa", None, "Zoé", "Zoé", "Ben"]),
            "points": pd.array([1, 2, 3, None, 5, 6], dtype="Int16"),
            "vip": [True, False, True, False, True, False],
            "amount": [25.0, 12.5, np.nan, 3.25, 1.0, 0.1],
            "day": pd.date_range("2027-01-01", periods=6).date,
            "seen": hours,
        }
    )


CASTS = {
    "as they are": {},
    "Arrow's": {
        "key": "int64[pyarrow]",
        "points": "int32[pyarrow]",
        "vip": "bool[pyarrow]",
        "amount": "double[pyarrow]",
        "first_name": "string[pyarrow]",
        "day": "date32[pyarrow]",
    },
    "nullable": {"vip": "boolean", "amount": "Float64", "first_name": "string[python]"},
    "objects": dict.fromkeys(["msisdn", "first_name", "vip"], object),
    "categories": {"vip": "category", "points": "category", "day": "category"},
    "nanoseconds": {"seen": "datetime64[ns, America/Martinique]"},
    "sparse": {"amount": pd.SparseDtype("float64"), "vip": pd.SparseDtype(bool)},
    "text": {"key": "str", "msisdn": "str"},
}


@pytest.mark.parametrize("casts", CASTS.values(), ids=CASTS)
def test_every_dtype_gives_the_bytes_of_its_parquet(
    campaign: Campaigns, stopped: pd.DataFrame, tmp_path: Path, casts: dict[str, object]
) -> None:
    folder = campaign(text=TYPED)
    people = typed().astype(casts)
    plain = people.astype({"amount": "float64", "vip": "bool"}) if "amount" in casts else people
    plain.to_parquet(tmp_path / "people.parquet")
    stopped.to_parquet(tmp_path / "stop.parquet")

    wanted = by_the_command(
        folder, tmp_path / "people.parquet", tmp_path / "stop.parquet", tmp_path / "command"
    )
    product.prepare(folder, people, stopped, AT).write(tmp_path / "frames")

    assert content(tmp_path / "frames") == wanted


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(100, 146),
        pd.Index([7] * 46),
        pd.date_range("2027-01-01", periods=46),
        pd.MultiIndex.from_product([["a", "b"], range(23)]),
    ],
    ids=["shifted", "one label", "dates", "levels"],
)
def test_an_index_is_neither_column_nor_row_number(
    campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame, index: pd.Index
) -> None:
    folder = campaign()
    plain = product.prepare(folder, people, stopped, AT)

    made = product.prepare(folder, people.set_index(index), stopped, AT)

    assert made.summary == plain.summary
    assert made.excluded.equals(plain.excluded)


def test_an_index_with_a_name_is_a_column(
    campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame
) -> None:
    folder = campaign()
    plain = product.prepare(folder, people, stopped, AT)

    made = product.prepare(folder, people.set_index(["key", "store"]), stopped, AT)

    assert made.summary["files"] == plain.summary["files"]


def test_paths_are_accepted_like_frames(
    campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame, tmp_path: Path
) -> None:
    folder = campaign()
    people.to_csv(tmp_path / "people.csv", index=False)
    stopped.to_parquet(tmp_path / "stop.parquet")

    made = product.prepare(folder, tmp_path / "people.csv", str(tmp_path / "stop.parquet"), AT)

    assert made.summary["files"] == product.prepare(folder, people, stopped, AT).summary["files"]


def test_excluded_rows_come_in_row_order(
    campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame
) -> None:
    made = product.prepare(campaign(), people, stopped, AT)

    assert made.excluded["row"].is_monotonic_increasing
    assert {"text_too_long", "landline", "opted_out"} <= {*made.excluded["reason"]}
