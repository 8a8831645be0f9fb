"""The product's objects in a notebook: typed frames, drawings, and no number in a `repr`."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import sms
from sms.errors import ConfigurationError, SourceError
from tests.airflow_home import ROOT
from tests.frames.conftest import AT, Campaigns

NUMBER = re.compile(r"\+?\d[\d ]{9,}\d")


@pytest.fixture
def made(campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame) -> sms.Prepared:
    return sms.prepare(campaign(), people, stopped, AT)


def test_messages_are_typed_and_numbers_international(made: sms.Prepared) -> None:
    messages = made.messages

    assert messages.columns.tolist() == [
        *("key", "msisdn", "text", "segments", "sender", "country", "file", "idremote"),
    ]
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in messages.dtypes)
    assert messages["msisdn"].str.fullmatch(r"\+336399801\d\d").all()
    assert messages["segments"].sum() == made.summary["segments"]
    assert messages["country"].unique().tolist() == ["FR"]
    lines = made.content(made.files["file"][0]).decode().splitlines()
    assert messages["text"].tolist()[:3] == [line.split(";", 3)[3] for line in lines[:3]]


def test_a_variant_is_a_column(campaign: Campaigns, people: pd.DataFrame) -> None:
    halves = "variants: {a: {text: message_a.txt}, b: {text: message_b.txt}}\n"
    folder = campaign(halves, texts={"a": "A {{ store }}", "b": "B {{ store }}"})

    made = sms.prepare(folder, people, None, AT)

    counted = made.messages.groupby("variant").size().to_dict()
    assert counted == {name: each["messages"] for name, each in made.summary["variants"].items()}
    assert "variant a" in made._repr_html_()


def test_a_reason_is_a_category_with_its_sentence(made: sms.Prepared) -> None:
    excluded = made.excluded

    assert excluded["reason"].value_counts().to_dict() == made.summary["excluded"]
    assert {*excluded["sentence"]} == {*made.summary["reasons"].values()}
    assert excluded.columns.tolist() == ["row", "key", "msisdn", "reason", "sentence", "detail"]


def test_an_empty_audience_is_a_frame_without_rows(
    campaign: Campaigns, people: pd.DataFrame
) -> None:
    made = sms.prepare(campaign("on_empty: skip\n"), people.iloc[42:43], None, AT)

    assert made.messages.empty
    assert made.files.empty
    assert made.messages["segments"].dtype == "int16[pyarrow]"
    assert made.excluded["key"].tolist() == ["landline"]
    assert "candidates" in made._repr_html_()


def test_a_repr_hides_numbers_and_a_drawing_masks_them(
    campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame, made: sms.Prepared
) -> None:
    screened = sms.screen(people, campaign_folder(made), stopped, AT)

    for each in (made, screened):
        assert not NUMBER.search(repr(each))
        assert "Zoé" not in repr(each)
        assert not NUMBER.search(re.sub(r"SEND-\S+", "", each._repr_html_()))
    assert "to +336••••••00, 1 SMS" in made._repr_html_()
    assert repr(made).startswith("<sms.Prepared spring: 46 candidates, 40 messages in 40 SMS, 6 ")


def campaign_folder(made: sms.Prepared) -> Path:
    return Path(made._prepared_files.outcome.screened.plan.campaign.folder)


def test_recipients_values_are_escaped_in_html(campaign: Campaigns, people: pd.DataFrame) -> None:
    folder = campaign(text="<script>{{ first_name }}</script>")

    drawn = sms.prepare(folder, people[people["key"] == "quoted"], None, AT)._repr_html_()

    assert "&lt;script&gt;Jean &quot;JN&quot;; &lt;b&gt;" in drawn
    assert "<script>" not in drawn
    assert "<b>" not in drawn


def test_an_audience_keeps_the_columns_that_it_had(
    campaign: Campaigns, people: pd.DataFrame, stopped: pd.DataFrame
) -> None:
    people = people.assign(points=pd.array(range(len(people)), dtype="Int64"))
    folder = campaign(text="{{ first_name }} {{ points }}")

    screened = sms.screen(people, folder, stopped, AT)

    audience = screened.audience
    assert audience["points"].dtype == "int64[pyarrow]"
    assert audience["points"].tolist() == (audience["row"] - 1).tolist()
    assert audience["send_at"].unique().tolist() == [pd.Timestamp(AT, tz="Europe/Paris")]
    assert len(audience) + len(screened.excluded) == len(people)
    assert screened.summary["audience"] == len(audience)


def test_an_empty_audience_has_its_columns(campaign: Campaigns, people: pd.DataFrame) -> None:
    screened = sms.screen(people.iloc[42:43], campaign(), None, AT)

    assert screened.audience.empty
    assert "first_name" in screened.audience


def test_a_text_may_use_a_column_called_zone(campaign: Campaigns, people: pd.DataFrame) -> None:
    screened = sms.screen(people.assign(zone="Nord"), campaign(text="{{ zone }}"), None, AT)

    assert screened.audience["zone_given"].unique().tolist() == ["Nord"]
    assert screened.audience["zone"].unique().tolist() == ["FR"]


def test_a_foreign_file_is_left_alone(made: sms.Prepared, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made.write(out)
    made.write(out)
    (out / "SEND-12345-20270302-1000-other.csv").touch()

    with pytest.raises(SourceError, match="which this command did not write"):
        made.write(out)
    with pytest.raises(ConfigurationError, match=r"other.csv is no file of this campaign: there "):
        made.content("other.csv")


def test_faults_of_a_file_are_rows(made: sms.Prepared, tmp_path: Path) -> None:
    made.write(tmp_path)
    [name] = made.files["file"]
    assert sms.check_file(tmp_path / name).empty
    lines = (tmp_path / name).read_bytes().split(b"\r\n")
    (tmp_path / "bad.csv").write_bytes(b"\r\n".join([lines[0], lines[0], b"1;2", b""]))

    faults = sms.check_file(tmp_path / "bad.csv")

    assert faults[["line", "code"]].values.tolist() == [
        [2, "idremote_duplicate"],
        [2, "msisdn_duplicate"],
        [3, "fields"],
    ]
    assert faults["sentence"].tolist()[2] == "the row does not have exactly four fields"


def test_open_hours_are_timestamps_and_closed_days_have_reasons() -> None:
    slots = sms.slots(3, first="2027-03-26", zones=["FR", "67", "RE"])

    friday, _, sunday = (row for _, row in slots[slots["zone"] == "FR"].iterrows())
    assert friday["opens"] == pd.Timestamp("2027-03-26 08:00", tz="Europe/Paris")
    assert friday["closes"] == pd.Timestamp("2027-03-26 22:00", tz="Europe/Paris")
    assert (sunday["closed"], sunday["opens"]) == ("Sunday", pd.NaT)
    closed = slots[slots["closed"] != ""].groupby("zone", observed=True)["closed"].first()
    assert closed["alsace_moselle"] == "Vendredi saint in Alsace-Moselle"
    assert slots["zone"].nunique() == 3
    assert sms.slots(1)["zone"].nunique() == 11


def test_heavy_libraries_are_imported_only_on_use() -> None:
    heavy = ["pandas", "pyarrow", "numpy", "pydantic", "phonenumbers"]
    code = (
        "import sys, sms; assert 'prepare' in dir(sms);"
        f"print([name for name in {heavy} if name in sys.modules]);"
        "sms.prepare; print('pandas' in sys.modules, hasattr(sms, 'send'))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "include")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split("\n") == ["[]", "True False", ""]
