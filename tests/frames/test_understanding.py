"""Frames are understood, or refused with a sentence that says what to do."""

import io
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sms
from sms.errors import ConfigurationError, SourceError, StopListUnsafe, WindowClosed
from tests.frames.conftest import AT, Campaigns

TWO = pd.DataFrame(
    {"key": ["a", "b"], "msisdn": ["0639980101", "0639980102"], "first_name": ["Zoé", "Léa"]}
).assign(store="Lyon")


def changed(**columns: object) -> pd.DataFrame:
    return TWO.assign(**columns)


REFUSED = {
    "a float key": (
        changed(key=[1042.0, np.nan]),
        r"the column 'key' of recipients holds floats, so that 1042 would be '1042.0'.*'Int64'",
    ),
    "float numbers": (
        changed(msisdn=[33639980101.0, np.nan]),
        r"the column 'msisdn' of recipients holds floats",
    ),
    "float objects": (
        changed(key=pd.Series([1042.0, None], dtype=object)),
        "the column 'key' of recipients holds floats",
    ),
    "months": (
        changed(first_name=pd.period_range("2027-01", periods=2, freq="M")),
        r"'first_name' of recipients has the dtype period\[M\].*astype\(str\)",
    ),
    "durations": (
        changed(store=pd.to_timedelta([1, 2], unit="D")),
        r"'store' of recipients has the dtype timedelta64.*no one spelling",
    ),
    "intervals": (changed(store=pd.interval_range(0, 2)), r"dtype interval\[int64, right\]"),
    "complex numbers": (changed(store=[1j, 2j]), "dtype complex128"),
    "categories of months": (
        changed(store=pd.Categorical(pd.period_range("2027-01", periods=2, freq="M"))),
        "'store' of recipients has the dtype category",
    ),
    "Python's own objects": (
        changed(store=pd.Series([object(), object()], dtype=object)),
        "'store' of recipients has the dtype object",
    ),
    "half a surrogate pair": (
        changed(store=pd.Series(["Lyon", "\ud83d"], dtype=object)),
        "recipients: column store holds bytes that are not UTF-8, first in row 2",
    ),
    "two columns of a name": (
        pd.concat([TWO, TWO[["key"]]], axis=1),
        "recipients has 2 columns 'key', and only one is expected",
    ),
    "an index named as a column": (
        TWO.set_index("key", drop=False),
        "recipients has 2 columns 'key', and only one is expected",
    ),
    "levels of columns": (
        TWO.set_axis(pd.MultiIndex.from_product([["a"], TWO.columns]), axis=1),
        "the columns of recipients have 2 levels",
    ),
    "a label that is no text": (
        TWO.rename(columns={"store": 2026}),
        "recipients has a column 2026, whose label is no text",
    ),
    "no labels": (
        TWO.set_axis(range(4), axis=1),
        "returns only column 1, column 2, column 3, column 4",
    ),
    "a list": ([{"key": "a"}], "recipients is of the type list: give a DataFrame, or the path"),
    "nobody": (TWO.iloc[:0], "recipients leaves no recipient"),
}


def test_the_error_for_a_missing_header_shows_no_row(campaign: Campaigns, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("a;0639980101;Zoé;Lyon\nb;0639980102;Léa;Lyon\n")

    with pytest.raises(SourceError, match="begins with what looks like a row: write the") as error:
        sms.prepare(campaign(), path, None, AT)

    assert "0639980101" not in str(error.value)
    assert "Zoé" not in str(error.value)


@pytest.mark.parametrize(("recipients", "sentence"), REFUSED.values(), ids=REFUSED)
def test_an_unusable_frame_is_refused(
    campaign: Campaigns, recipients: pd.DataFrame, sentence: str
) -> None:
    with pytest.raises(SourceError, match=f"(?s){sentence}"):
        sms.prepare(campaign(), recipients, None, AT)


@pytest.mark.parametrize(
    "column",
    [
        [True, np.nan],
        pd.Series([True, None], dtype=object),
        pd.array([True, None], dtype="boolean"),
    ],
    ids=["NaN", "None", "nullable"],
)
def test_a_gap_beside_booleans_stays_a_gap(campaign: Campaigns, column: object) -> None:
    folder = campaign(text="{{ first_name }}{{ ' VIP' if vip == true }}")

    made = sms.prepare(folder, changed(vip=column), None, AT)

    assert made.messages["text"].tolist() == ["Zoé VIP STOP 36180", "Léa STOP 36180"]


@pytest.mark.parametrize("dtype", [object, "Int64", "category", "int64[pyarrow]"])
def test_whole_numbers_beside_a_gap_have_no_point(campaign: Campaigns, dtype: str) -> None:
    folder = campaign(text="{{ first_name }} {{ points }}")

    made = sms.prepare(folder, changed(points=pd.Series([600, None], dtype=dtype)), None, AT)

    assert made.messages["text"].tolist() == ["Zoé 600 STOP 36180"]


# --- Stop lists ---------------------------------------------------------------------------------

STOP_LISTS = {
    "under another name": pd.DataFrame({"phone": ["0639980102"], "who": ["Léa"]}),
    "a series": pd.Series(["0639980102"]),
    "whole numbers": pd.DataFrame({"msisdn": pd.array([33639980102, None], dtype="Int64")}),
    "no header": pd.read_csv(io.StringIO("0639980102;x\n"), sep=";", header=None, dtype=str),
    "another case": pd.DataFrame({" MSISDN": ["+33 6 39 98 01 02"], "other": ["639980101"]}),
    "in the index": pd.DataFrame({"why": ["x"]}, index=pd.Index(["0639980102"], name="msisdn")),
}


@pytest.mark.parametrize("stop_list", STOP_LISTS.values(), ids=STOP_LISTS)
def test_a_stop_list_has_the_columns_of_a_file(campaign: Campaigns, stop_list: object) -> None:
    made = sms.prepare(campaign(), TWO, stop_list, AT)

    assert made.excluded[["key", "reason"]].values.tolist() == [["b", "opted_out"]]


def test_other_phone_columns_are_stopped_too(campaign: Campaigns) -> None:
    stop_list = pd.DataFrame(
        {
            "msisdn": ["0639980109"],
            "phone2": pd.array([639980102], dtype="Int64"),
            "since": [pd.Timedelta(1, "D")],  # a dtype that is not read
        }
    )

    made = sms.prepare(campaign(), TWO, stop_list, AT)

    assert made.excluded[["key", "reason"]].values.tolist() == [["b", "opted_out"]]


@pytest.mark.parametrize(
    ("stop_list", "error", "sentence"),
    [
        (
            pd.DataFrame({"msisdn": [33639980102.0, np.nan]}),
            SourceError,
            "the column 'msisdn' of stop_list holds floats",
        ),
        (
            pd.DataFrame({"msisdn": ["0639980102", "Madame Lea"]}),
            StopListUnsafe,
            "stop_list, row 2: the column 'msisdn' holds no number that can be read",
        ),
        (
            pd.DataFrame({"msisdn": ["", "0639980101"], "mobile": ["0639980102", ""]}),
            StopListUnsafe,
            "stop_list, row 1: the column 'msisdn' holds no mobile number and 'mobile' does",
        ),
        (
            pd.read_csv(io.StringIO("0639980102\n0639980103\n"), dtype=str),
            SourceError,
            "stop_list has a column called '••••••••••', which looks like a row: .*header=None",
        ),
        (
            pd.DataFrame({"a": ["0639980102"], "b": ["0639980101"]}),
            SourceError,
            "stop_list: the columns 'a' and 'b' both hold numbers: name the right one msisdn, in a "
            "first line",
        ),
        ({"0639980102"}, SourceError, "stop_list is of the type set"),
    ],
)
def test_an_unreadable_stop_list_stops_everything(
    campaign: Campaigns, stop_list: object, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        sms.prepare(campaign(), TWO, stop_list, AT)


# --- Hours and campaigns ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at",
    [
        "2027-03-02T10:00",
        "2027-03-02T09:00+00:00",
        pd.Timestamp("2027-03-02 10:00"),
        pd.Timestamp("2027-03-02 09:00", tz="UTC"),
    ],
)
def test_an_hour_without_an_offset_is_paris_time(campaign: Campaigns, at: object) -> None:
    made = sms.prepare(campaign(), TWO, None, at)

    assert made.files["send_at"].tolist() == [pd.Timestamp("2027-03-02 10:00", tz="Europe/Paris")]


@pytest.mark.parametrize("at", ["tomorrow", pd.NaT, date(2027, 3, 2), 20270302])
def test_an_invalid_hour_is_refused(campaign: Campaigns, at: object) -> None:
    with pytest.raises(ConfigurationError, match="is no date and hour"):
        sms.prepare(campaign(), TWO, None, at)


def test_without_an_hour_the_campaigns_next_hour_is_used(campaign: Campaigns) -> None:
    made = sms.prepare(campaign('send_at: "10:30"\n'), TWO)

    [hour] = made.files["send_at"]
    assert (hour.hour, hour.minute) == (10, 30)
    assert hour > pd.Timestamp.now("UTC") - pd.Timedelta(minutes=1)


def test_outside_window_fail_refuses_a_closed_hour(campaign: Campaigns) -> None:
    with pytest.raises(WindowClosed, match="Sunday"):
        sms.prepare(campaign("outside_window: fail\n"), TWO, None, "2027-03-07T10:00")


def test_a_campaign_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = TWO.assign(points=100)

    made = sms.prepare("spring_sale", people, None, AT)

    assert made.summary["campaign"] == "spring_sale"
