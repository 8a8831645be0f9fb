"""`sms check --warehouse`: the warehouse checks the queries without running them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from demo.postgres import PostgreSQL
from sms.run import query_columns
from tests.airflow_home import ROOT
from tests.campaign_folder import write_campaign
from tests.command_line import sms, sms_as_a_process

SECRET = "Tr0ub4dor-s3cret"
YAML = 'kind: marketing\nsender: SHOP\nstop_mention: "STOP 36180"\nwarehouse: shop\n'
GOOD = "SELECT key, msisdn, first_name, vip, opted_out\nFROM people, pg_sleep(1000)"
TEXT = "Bonjour {{ first_name }}{% if vip %}, cher client{% endif %} !"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where campaigns are."""
    folder = tmp_path / "campaigns"
    write_campaign(folder / "good", YAML, GOOD, TEXT)
    return folder


@pytest.fixture
def shop(postgres: PostgreSQL, empty_database_url: str) -> Iterator[dict[str, str]]:
    """A warehouse of people as the connection `shop`, and connections that let nobody in."""
    database = str(make_url(empty_database_url).database)
    with postgres.connect(database) as connection:
        for each in (
            "CREATE TABLE people (key text, msisdn text, first_name text, vip boolean, "
            "points integer, born date, opted_out boolean, unsubscribed boolean, phone float8)",
            "CREATE TABLE secrets (key text)",
            f"CREATE ROLE reader_{database} LOGIN",
            f"CREATE ROLE locked_{database} LOGIN PASSWORD '{SECRET}'",
            f"GRANT SELECT ON people TO reader_{database}",
        ):
            connection.execute(each)
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all locked_{database} scram-sha-256\n{before}")
    where = {"conn_type": "postgres", "host": postgres.socket_folder, "schema": database}
    wrong = {**where, "login": f"locked_{database}", "password": f"not-{SECRET}"}
    dead = {**where, "host": "/nowhere", "login": "anna", "password": SECRET}
    with postgres.connect(database) as connection:
        connection.execute("SELECT pg_reload_conf()")
        yield {
            "AIRFLOW_CONN_SHOP": json.dumps({**where, "login": f"reader_{database}"}),
            "AIRFLOW_CONN_WRONG": json.dumps(wrong),
            "AIRFLOW_CONN_DEAD": json.dumps(dead),
        }
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")


def check(home: Path, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = home.parent / "settings.yaml"
    settings.write_text(f"campaigns_folder: {home}\n")
    return sms("check", "--warehouse", *options, SMS_SETTINGS=str(settings), **variables)


def test_every_campaigns_faults_are_reported_with_file_and_line(
    home: Path, shop: dict[str, str]
) -> None:
    def write(name: str, sql: str, text: str = TEXT, yaml: str = YAML) -> None:
        write_campaign(home / name, yaml, sql, text)

    write(
        "absent", "SELECT key, msisdn, first_nam FROM\n(SELECT *, 'x' AS first_nam FROM people) p"
    )
    write("dead", GOOD, yaml=YAML.replace("shop", "dead"))
    write("forbidden", "SELECT key FROM secrets")
    write("lost", "SELECT key\nFROM no_such_table")
    write("nowhere", GOOD, yaml=YAML.replace("shop", "no_such_connection"))
    write("renamed", "SELECT key, msisdn,\n  unsubscribed\nFROM people", "Bonjour !")
    write("syntax", "SELECT key,\n  msisdn\nFORM people")
    write(
        "typed",
        "SELECT key, phone AS msisdn, points, born FROM people",
        "{% if points == '600' %}Or{% endif %}\n{{ born + 1 }}",
    )
    write("writing", "WITH gone AS (DELETE FROM people RETURNING *)\nSELECT * FROM gone")
    write("wrong", GOOD, yaml=YAML.replace("shop", "wrong"))
    (home / "syntax" / "campaign.yaml").write_text(YAML + "budget: 10\n")

    done = check(home, **shop)

    assert done.returncode == 1
    assert done.stdout == (
        "good: no fault found; shop returns: key text, msisdn text, first_name text, vip boolean, "
        "opted_out boolean; opted out by: opted_out\n"
    )
    assert SECRET not in done.stdout + done.stderr
    note, *told = done.stderr.replace(f"{home}/", "").splitlines()
    assert note.startswith("note  good/message.txt, line 1: `if` is worked out by Python")
    expected = [
        "absent/message.txt, line 1: uses {{ first_name }}, but the query of "
        "absent/recipients.sql returns only key, msisdn, first_nam, did you mean first_nam? Add",
        "absent/message.txt, line 1: uses {{ vip }}, but the query",
        "dead/campaign.yaml, line 4: warehouse: the warehouse dead can't be reached: ",
        "forbidden/recipients.sql: the warehouse shop says: permission denied for table secrets",
        'lost/recipients.sql, line 2: the warehouse shop says: relation "no_such_table" does not',
        "nowhere/campaign.yaml, line 4: warehouse: there is no connection no_such_connection: ",
        "renamed/recipients.sql, line 2: returns a column 'unsubscribed', did you mean opted_out?",
        "syntax/campaign.yaml, line 5: budget: the budget can't be checked",
        "syntax/recipients.sql, line 3: the warehouse shop says: syntax error at or near",
        "typed/recipients.sql, line 1: msisdn (double precision) is a floating-point number, ",
        "typed/message.txt, line 1: points (a whole number) is compared with the text '600', ",
        "typed/message.txt, line 2: `+` of born (a date) and 1 can't be worked out: ",
        "writing/recipients.sql: must be one SELECT, or a WITH that ends in one, and it would",
        "wrong/campaign.yaml, line 4: warehouse: the warehouse wrong can't be reached: ",
    ]
    assert len(told) == len(expected), done.stderr
    for line, said in zip(told, expected, strict=True):
        assert line.removeprefix("fault ").startswith(said)
    assert "password authentication failed" in told[-1]


def test_a_good_campaign_lists_its_columns_for_programs(home: Path, shop: dict[str, str]) -> None:
    settings = home.parent / "settings.yaml"
    settings.write_text(f"campaigns_folder: {home}\n")
    paths = f"{ROOT / 'include'}:{ROOT / 'plugins'}"

    done = sms_as_a_process(
        *("check", "--warehouse", "--json"), SMS_SETTINGS=str(settings), PYTHONPATH=paths, **shop
    )

    assert (done.returncode, done.stderr) == (0, "")  # whatever Airflow logs
    told = json.loads(done.stdout)
    [campaign] = told["campaigns"]
    assert told["faults"] == []
    assert (campaign["warehouse"], campaign["opted_out"]) == ("shop", ["opted_out"])
    assert campaign["columns"][2:4] == [
        {"name": "first_name", "type": "text", "kind": "text"},
        {"name": "vip", "type": "boolean", "kind": "boolean"},
    ]


def test_without_the_option_no_warehouse_is_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_columns, "ask", lambda queries: pytest.fail("it was asked"))

    done = sms("check", home / "good")

    assert done.stdout == (
        "good: no fault found; needs from the query: key, msisdn, first_name, vip\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "NEEDED",
            ("no_airflow",),
            "fault no warehouse can be asked: warehouses are Airflow connections, and "
            "no_airflow is not installed here. Run `sms check --warehouse` where Airflow's tasks "
            "run, or leave --warehouse out\n",
        ),
        (
            "PROGRAM",
            "no_such_program",
            "fault no warehouse could be asked, as no_such_program ended with status 1: see "
            "whether `airflow connections list` works here\n",
        ),
        (
            "PROGRAM",
            "sms.errors.no_such_module",
            "fault no warehouse could be asked, as sms.errors.no_such_module ended with status 1",
        ),
    ],
)
def test_without_an_answer_no_campaign_is_valid(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, said: str
) -> None:
    monkeypatch.setattr(query_columns, name, value)

    done = check(home)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    told = json.loads(check(home, "--json").stdout)
    assert (told["campaigns"], len(told["faults"])) == ([], 1)


def test_a_broken_folder_hides_no_other_from_the_check(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_campaign(home / "broken", "kind: marketing\n", GOOD, TEXT)
    column = query_columns.QueryColumn("key")
    asked = []

    def ask(queries: list[query_columns.Query]) -> list[query_columns.Answer]:
        asked.extend(queries)
        return [query_columns.Answer((column,)) for _ in queries]

    monkeypatch.setattr(query_columns, "ask", ask)

    done = check(home)

    assert asked == [query_columns.Query("shop", GOOD, f"{home}/good/recipients.sql")]
    assert "broken/campaign.yaml" in done.stderr
    assert "good/campaign.yaml: names 'msisdn' as its msisdn, but the query" in done.stderr
