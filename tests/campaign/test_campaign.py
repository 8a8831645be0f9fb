"""A campaign's folder is read whole, or refused with every fault and its line."""

import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.campaign.definition import DIGEST_ALPHABET, Campaign, Kind, campaign_id, load, load_all
from sms.errors import BadCampaign

GOOD_YAML = """\
description: A sale
kind: marketing
sender: LUMIERE
stop_mention: "STOP 36180"
"""


def folder(root: Path, name: str = "sale", **changes: str | bytes | None) -> Path:
    """A good campaign's folder, with some of its files changed, or (None) left out."""
    files = {
        "campaign.yaml": GOOD_YAML,
        "recipients.sql": "SELECT 1 AS key, '' AS msisdn\n",
        "message.txt": "Bonjour {{ first_name }} !\n",
    }
    names = {"yaml": "campaign.yaml", "sql": "recipients.sql", "text": "message.txt"}
    where = root / name
    where.mkdir(parents=True)
    contents = files | {names[what]: content for what, content in changes.items()}
    for file, content in contents.items():
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (where / file).write_bytes(data)
    return where


def refusal(where: Path) -> BadCampaign:
    with pytest.raises(BadCampaign) as caught:
        load(where)
    return caught.value


def with_line(line: str) -> str:
    """The good YAML with a key replaced, or added at the end."""
    key = line.split(":")[0]
    kept = [said for said in GOOD_YAML.splitlines() if not said.startswith(f"{key}:")]
    return "\n".join([*kept, line, ""])


def test_a_good_folder_becomes_a_campaign_with_every_default(tmp_path):
    campaign = load(folder(tmp_path))

    assert campaign == Campaign(
        name="sale",
        folder=tmp_path / "sale",
        sql="SELECT 1 AS key, '' AS msisdn\n",
        text="Bonjour {{ first_name }} !\n",
        description="A sale",
        owner="sms",
        kind=Kind.MARKETING,
        sender="LUMIERE",
        schedule=None,
        send_at=None,
        stop_mention="STOP 36180",
        warehouse="sms_warehouse",
        key="key",
        msisdn="msisdn",
        allowed_countries=("FR",),
        max_recipients_per_file=1_000_000,
        outside_window="shift",
        on_empty="fail",
        unsupported_characters="replace",
        tags=(),
    )
    assert campaign.sql_path == tmp_path / "sale" / "recipients.sql"
    assert campaign.text_path == tmp_path / "sale" / "message.txt"
    assert pickle.loads(pickle.dumps(campaign)) == campaign


def test_a_windows_file_loses_its_bom_and_crlf(tmp_path):
    where = folder(tmp_path, text=b"\xef\xbb\xbfBonjour,\r\n\xc3\xa0 bient\xc3\xb4t\r\n")

    assert load(where).text == "Bonjour,\nà bientôt\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sender: Spring Sale!", "'Spring Sale!' is no sender: at most 11 letters or digits"),
        ("sender: LUMIERES2026", "at most 11"),
        ("sender: LUMIÈRE", "without accents"),
        ('sender: "33639980000"', "at least one letter"),
        ("sender: 3615", "put quotes around it"),
        ("sendr: LUMIERE", "sendr: is no known key, did you mean sender?"),
        ("name: other", "name: is no known key"),
        ("kind: spam", "'spam' is none of 'marketing' or 'transactional'"),
        ("schedule: 0 25 * * *", "is no cron schedule"),
        ("schedule: R 9 * * *", "another time at each reading"),
        ("schedule: 0 r(9-11)/2 * * *", "another time at each reading"),
        ("schedule: 0 9 * *", "five fields"),
        ("schedule: 0 9 30 2 *", "never comes"),
        ('send_at: "9:30"', 'write "HH:MM"'),
        ("send_at: 24:00", 'write "HH:MM"'),
        ("send_at: 930", "put quotes around it"),
        ("send_at: 02:30", "outside 02:00-03:00"),
        ("stop_mention: STOP 36xxx", "placeholder for digits"),
        ("stop_mention: STOP au 36…", "placeholder for digits"),
        ("stop_mention: Merci", "does not say how to opt out"),
        ("stop_mention: non-stop 36180", "does not say how to opt out"),
        ("stop_mention: Ouvert non stop 36180", "does not say how to opt out"),
        ("stop_mention: 'STOP {{ code }} 36180'", "is sent unchanged"),
        ("stop_mention: 'STOP 36180 {# code #}'", "is sent unchanged"),
        ("stop_mention: 36180", "put quotes around it"),
        ("stop_mention: null", "marketing needs a stop_mention"),
        ("allowed_countries: [FR, UK]", "'UK' is no country's code"),
        ("allowed_countries: [FR, UK]", "did you mean GB?"),
        ("allowed_countries: [fr]", "did you mean FR?"),
        ("allowed_countries: [FR, MF]", "'MF' no number would be matched"),
        ("allowed_countries: [BL]", "read as those of GP: write GP"),
        ("allowed_countries: [FR, AX]", "read as those of FI: write FI"),
        ("allowed_countries: [TA]", "it has no mobile numbers: leave it out"),
        ("national_numbers: CH", "'CH' is none of 'FR'"),
        ("allowed_countries: []", "names no country"),
        ("allowed_countries: FR", "'FR' is no list: write it in brackets, [FR]"),
        ("allowed_countries: FR, BE", "write it in brackets, [FR, BE]"),
        ("allowed_countries: {FR: 1}", "write its values in brackets, such as [one, other]"),
        ("max_recipients_per_file: 0", "between 1 and 1000000"),
        ("max_recipients_per_file: 1000001", "between 1 and 1000000"),
        (
            "max_recipients_per_file: many",
            "'many' is no whole number: write digits alone, such as 10000",
        ),
        ("max_recipients_per_file: true", "max_recipients_per_file: True is no whole number"),
        ("max_recipients_per_file: 10 000", "write it without marks between the digits, 10000"),
        (
            "max_recipients_per_file: 1.000",
            "write digits alone",
        ),  # 1.0 to YAML: nothing to guess at
        ('max_recipients_per_file: "500"', "write 500 without quotes"),
        ("budget: 12,50", "'12,50' is no number: write a point instead of the comma, 12.50"),
        ("budget: 1 200,5", "write a point instead of the comma, 1200.5"),
        ("budget: 1 200", "write it without marks between the digits, 1200"),
        ("budget: 1,200", "write 1200, or 1.200 if the comma begins its decimals"),
        ("budget: 0,125", "write a point instead of the comma, 0.125"),
        ("budget: 12 EUR", "write digits alone, with a point before decimals, such as 12.50"),
        ("max_growth: 12,5%", "such as 50%, or 12.5% with a point"),
        *[
            (f"{key}:", f"{key}: is empty: write a value, or leave the key out")
            for key in (
                "max_recipients",
                "max_growth",
                "frequency_cap",
                "budget",
                "control_group",
                "postcode",
            )
        ],
        ("max_segments:   # to be told", "max_segments: is empty"),
        ("tags:", "tags: is empty: write a value, or leave the key out"),
        ("description:", "description: is empty"),
        ('owner: ""', "'' is too short: write something"),
        ("outside_window: queue", "'queue' is none of 'shift' or 'fail'"),
        ("on_empty: ignore", "is none of 'fail' or 'skip'"),
        ("unsupported_characters: drop", "is none of 'replace', 'exclude' or 'refuse'"),
        ("warehouse: my warehouse", "write the id of one of Airflow's connections"),
        ("tags: sale", "'sale' is no list: write it in brackets, [sale]"),
    ],
)
def test_a_wrong_key_is_reported_with_file_and_line(tmp_path, line, said):
    written = with_line(line)
    where = folder(tmp_path, yaml=written)

    error = refusal(where)

    key = line.split(":")[0] if line != "stop_mention: null" else "kind"
    rows = [row for row, text in enumerate(written.splitlines(), 1) if text.startswith(key)]
    assert said in str(error)
    assert error.path == str(where / "campaign.yaml")
    assert [error.line] == rows
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "line",
    [
        "send_at: 03:00",
        'send_at: "01:59"',
        "schedule: 30 8 * * 1-6",
        'schedule: "*/15 8-21 * * *"',
        'schedule: "@daily"',
        "allowed_countries: [FR, RE, NO, GB]",
        "national_numbers: FR",
        "max_recipients_per_file: 1",
        "max_recipients: null",
        "budget: ~",
        "max_recipients_per_file: 1000000",
        'sender: "36LUM"',
        "stop_mention: Stop au 36180.",
        "stop_mention: Refus https://exemple.fr/s?u=1_2",
    ],
)
def test_a_valid_key_is_accepted(tmp_path, line):
    assert load(folder(tmp_path, yaml=with_line(line)))


def test_a_missing_key_says_what_to_write(tmp_path):
    error = refusal(folder(tmp_path, yaml="sender: LUMIERE\n"))

    assert "kind: is missing: write `kind: marketing`" in str(error)


def test_a_transactional_campaign_needs_no_stop_mention_nor_hours(tmp_path):
    written = "kind: transactional\nsender: A\nsend_at: 23:00\noutside_window: fail\n"

    assert load(folder(tmp_path, yaml=written)).stop_mention is None


def test_an_unshiftable_hour_that_never_opens_is_refused(tmp_path):
    late = GOOD_YAML + "send_at: 22:00\n"

    assert load(folder(tmp_path, "shifted", yaml=late))
    error = refusal(folder(tmp_path, "failing", yaml=late + "outside_window: fail\n"))
    assert error.line == 6
    assert "no run can ever send at 22:00" in str(error)


@pytest.mark.parametrize(
    ("written", "line", "said"),
    [
        ("kind: marketing\nkind: transactional\n", 2, "duplicate key"),
        ("kind: [marketing\nsender: A\n", 2, "is not YAML"),
        ("kind: marketing\nschedule: * * * * *\n", 2, "needs quotes around it"),
        ("- kind\n", 1, "`key: value` lines"),
        ("just words\n", 1, "`key: value` lines"),
        ("", None, "is empty"),
        ("# nothing but a comment\n", None, "kind: is missing"),
        (b"kind: marketing\nsender: \xc9t\xe9\n", 2, "is not UTF-8"),
    ],
)
def test_a_file_without_settings_is_reported_with_its_line(tmp_path, written, line, said):
    error = refusal(folder(tmp_path, yaml=written))

    assert (error.line, Path(error.path).name) == (line, "campaign.yaml")
    assert said in str(error)


@pytest.mark.parametrize("file", ["campaign.yaml", "recipients.sql", "message.txt"])
def test_a_missing_file_is_named(tmp_path, file):
    where = folder(tmp_path)
    (where / file).unlink()

    assert str(refusal(where)) == f"{where / file}: is missing: every campaign has one"


@pytest.mark.parametrize(
    ("changes", "file", "line", "said"),
    [
        ({"sql": " \n"}, "recipients.sql", None, "is empty"),
        ({"sql": "-- SELECT 1\n/* or\n2 */ ;\n"}, "recipients.sql", None, "only comments"),
        ({"text": "\n"}, "message.txt", None, "is empty"),
        ({"text": b"Bonjour\nL\xe9a"}, "message.txt", 2, "is not UTF-8"),
        ({"text": "Bonjour\n{{ first name }}"}, "message.txt", 2, "is no template"),
        ({"text": "Bonjour {{ first_name"}, "message.txt", 1, "is no template"),
        ({"text": "\n\n{{ name | shout }}"}, "message.txt", 3, "shout"),
        ({"text": "{% if x %}\n{{ x | shout }}{% endif %}"}, "message.txt", 2, "shout"),
        ({"text": "{{ x is loud }}"}, "message.txt", 1, "loud"),
        ({"text": "{{ ['a', 'b'] | random }}"}, "message.txt", 1, "random"),
        ({"text": "{% if x %}\nBonjour"}, "message.txt", None, "is no template"),
        ({"text": "a\n{% include 'b.txt' %}"}, "message.txt", 2, "another file"),
    ],
)
def test_an_unusable_query_or_text_is_reported(tmp_path, changes, file, line, said):
    where = folder(tmp_path, **changes)

    error = refusal(where)

    assert error.path == str(where / file)
    assert said in str(error)
    assert line is None or error.line == line


@pytest.mark.parametrize("name", ["Sale", "spring-sale", "spring sale", "été", "a" * 65])
def test_a_folder_name_unfit_for_a_dag_is_refused(tmp_path, name):
    assert "is no name for a campaign" in str(refusal(folder(tmp_path, name)))


def test_all_faults_of_a_folder_are_reported_together(tmp_path):
    written = "kind: spam\nsender: '!'\nsendr: x\n"
    error = refusal(folder(tmp_path, yaml=written, sql="", text="{{"))

    assert error.line == 1
    assert str(error).startswith(f"{tmp_path / 'sale' / 'campaign.yaml'}, line 1: kind:")
    others = ("campaign.yaml, line 2: sender", "campaign.yaml, line 3: sendr", "recipients.sql: ")
    for other in (*others, "message.txt, line 1"):
        assert f"; also {other}" in str(error)


def test_a_broken_folder_hides_no_other(tmp_path):
    for name in ("winter", "autumn"):
        folder(tmp_path, name)
    folder(tmp_path, "broken", yaml="kind: [")
    folder(tmp_path, ".hidden", yaml="kind: [")
    (tmp_path / "README.md").write_text("not a campaign")

    campaigns, broken = load_all(tmp_path)

    assert [campaign.name for campaign in campaigns] == ["autumn", "winter"]
    assert [Path(error.path).parent.name for error in broken] == ["broken"]


def test_one_campaign_is_read_without_all_others(tmp_path):
    for name in ("winter", "autumn"):
        folder(tmp_path, name)
    folder(tmp_path, "broken", yaml="kind: [")

    campaigns, broken = load_all(tmp_path, only="autumn")

    assert ([campaign.name for campaign in campaigns], broken) == (["autumn"], [])


def test_a_missing_root_is_reported(tmp_path):
    campaigns, [error] = load_all(tmp_path / "nowhere")

    assert campaigns == []
    assert "is no folder" in str(error)


def test_thirty_folders_are_read_well_under_a_second(tmp_path):
    for number in range(30):
        folder(tmp_path, f"sale_{number}", yaml=GOOD_YAML + "schedule: 0 9 * * *\n")
    began = time.process_time()

    campaigns, _ = load_all(tmp_path)

    assert len(campaigns) == 30
    assert time.process_time() - began < 0.9


def test_reading_campaigns_and_settings_imports_nothing_heavy():
    heavy = "pandas pyarrow numpy holidays sqlalchemy phonenumbers airflow"
    code = (
        "import sys, pathlib, sms.campaign.definition, sms.settings; sms.settings.load();"
        "assert sms.campaign.definition.load_all(pathlib.Path('include/campaigns'))[0];"
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={"PYTHONPATH": str(root / "include")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"


@given(st.text(max_size=30), st.text(max_size=60), st.integers(1, 99))
def test_campaign_ids_are_stable_and_leave_room_for_parts(name, run, attempt):
    made = campaign_id(name, run, attempt)

    assert re.fullmatch(r"[a-z0-9]{8,16}", made)
    assert made == campaign_id(name, run, attempt)
    assert made != campaign_id(name, run, attempt + 1)
    assert not re.search(r"p\d\d$", made)


def test_campaign_ids_differ_by_run_and_show_the_campaign():
    made = {campaign_id("spring_sale", f"send__spring_sale/{run}") for run in range(20_000)}

    assert len(made) == 20_000
    assert all(one.startswith("springsa") for one in made)
    assert len(set(DIGEST_ALPHABET)) == 32


def test_campaign_ids_never_change():
    # Names of files already at the gateway depend on it.
    assert campaign_id("spring_sale", "send__spring_sale/manual__x") == "springsacyg7h27b"
