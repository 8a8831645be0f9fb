"""A campaign is checked against the columns of its query, before a row is read."""

from pathlib import Path

import pytest

from sms.campaign.definition import Campaign, load
from sms.columnar.values import ValueKind
from sms.errors import BadCampaign
from sms.run import query_checks
from sms.run.query_columns import Answer, QueryColumn
from tests.campaign_folder import write_campaign

MARKETING = 'kind: marketing\nsender: AUTUMN\nstop_mention: "STOP 36180"\n'
TYPES = {
    "text": ValueKind.TEXT,
    "boolean": ValueKind.BOOLEAN,
    "integer": ValueKind.INTEGER,
    "numeric": ValueKind.DECIMAL,
    "double precision": ValueKind.FLOAT,
    "date": ValueKind.DATE,
    "timestamp with time zone": ValueKind.TIMESTAMP,
    "text[]": ValueKind.OTHER,
    "jsonb": ValueKind.TEXT,
    "": None,
}


def columns(**types: str) -> list[QueryColumn]:
    """Columns of these types, after a key and a number."""
    all_types = {"key": "text", "msisdn": "text"} | types
    return [QueryColumn(name, each, TYPES[each]) for name, each in all_types.items() if each != "-"]


def campaign(
    home: Path,
    text: str = "Bonjour !",
    more: str = "",
    sql: str = "SELECT 1",
    yaml: str = MARKETING,
) -> Campaign:
    return load(write_campaign(home / "autumn", yaml + more, sql, text))


def faults(home: Path, text: str = "Bonjour !", more: str = "", **types: str) -> list[str]:
    """What is wrong, without the folder before each file."""
    found = campaign(home, text, more)
    told = query_checks.faults(found, columns(**types))
    return [str(fault).replace(f"{found.folder}/", "") for fault in told]


def test_columns_that_fit_have_no_fault(tmp_path: Path) -> None:
    text = "{{ name }}{% if vip and points > 100 %} {{ points / 2 }}{% endif %} {{ born|date }}"
    types = {"name": "text", "vip": "boolean", "points": "integer", "born": "date"}

    assert faults(tmp_path, text, **types, opted_out="boolean", more_of_them="text[]") == []


def test_each_missing_column_is_reported_where_it_is_used(tmp_path: Path) -> None:
    text = "Bonjour {{ first_name }}\n{{ shop }}\n{{ points }} {{ shop }}"

    found = faults(
        tmp_path, text, "key: id\nmsisdn: phone\n", msisdn="-", firstname="text", points="integer"
    )

    returns = "but the query of recipients.sql returns only key, firstname, points"
    add = "dd the column to the query, or correct its name"
    meant = f"{returns}, did you mean firstname? A{add}"
    assert found == [
        f"campaign.yaml, line 4: names 'id' as its key, {returns}: a{add}",
        f"campaign.yaml, line 5: names 'phone' as its msisdn, {returns}: a{add}",
        f"message.txt, line 1: uses {{{{ first_name }}}}, {meant}",
        f"message.txt, line 2: uses {{{{ shop }}}}, {returns}: a{add}",
    ]


def test_a_missing_column_is_reported_for_each_variant(tmp_path: Path) -> None:
    yaml = MARKETING + "variants: {warm: {text: warm.txt}, short: {text: short.txt}}\n"
    folder = write_campaign(tmp_path / "autumn", yaml, "SELECT 1", "")
    (folder / "message.txt").unlink()
    (folder / "warm.txt").write_text("Bonjour\n{{ name }}")
    (folder / "short.txt").write_text("{{ name }} {{ shop }}")

    told = list(query_checks.faults(load(folder), columns(shop="text")))

    assert [(Path(each.path).name, each.line) for each in told] == [
        ("warm.txt", 2),
        ("short.txt", 1),
    ]


@pytest.mark.parametrize(
    "name", ["desabonne", "optout_sms", "unsubscribed", "opt_in", "opted_outt"]
)
def test_a_misspelt_opt_out_column_is_reported_by_line(tmp_path: Path, name: str) -> None:
    found = campaign(tmp_path, sql=f"SELECT key,\n  msisdn,\n  {name}\nFROM people")

    [fault] = query_checks.faults(found, columns(**{name: "boolean"}))

    assert (fault.path, fault.line) == (str(found.sql_path), 3)
    assert fault.problem.startswith(f"returns a column '{name}', did you mean opted_out? ")


def test_a_line_is_given_only_for_an_unambiguous_column(tmp_path: Path) -> None:
    found = campaign(tmp_path, sql="WITH a AS (SELECT opt_in FROM b)\nSELECT opt_in FROM a")

    [fault] = query_checks.faults(found, columns(opt_in="boolean"))

    assert fault.line is None


def test_an_undeclared_postcode_column_is_reported(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, code_postal="text")

    assert fault.startswith("recipients.sql: returns a column 'code_postal', and campaign.yaml ")
    assert "did you mean `postcode: code_postal`?" in fault


def test_opt_out_columns_are_listed() -> None:
    assert query_checks.opted_out(columns()) == []
    assert query_checks.opted_out(columns(OptedOut="integer", x="text", opt_out="date")) == [
        "OptedOut",
        "opt_out",
    ]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        *[("double precision", "a floating-point number, which has lost digits")],
        *[("boolean", "a boolean, which is no phone number")],
        *[("text[]", "a list, a record, a duration or the like, which is no phone number")],
        *[("date", "a date, which is no phone number")],
        *[("text", None), ("integer", None), ("numeric", None), ("", None)],
    ],
)
def test_a_numbers_type_must_be_able_to_hold_it(tmp_path: Path, kind: str, why: str | None) -> None:
    found = faults(tmp_path, msisdn=kind)

    assert (
        found == []
        if why is None
        else found
        == [
            f"recipients.sql: msisdn ({kind}) is {why}, so all rows would be left out: "
            "return it as text"
        ]
    )


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("text", 0), ("integer", 0), ("double precision", 0), ("boolean", 1), ("date", 1)],
)
def test_a_postcode_has_a_type_that_can_hold_one(tmp_path: Path, kind: str, wrong: int) -> None:
    found = faults(tmp_path, more="postcode: zip\n", zip=kind)

    assert len(found) == wrong
    assert all("which is no postcode, so all rows would" in each for each in found)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (
            "A\n{% if c == '600' %}x{% endif %}",
            "integer",
            "message.txt, line 2: c (a whole number) is compared with the text '600', which is "
            "never true: write 600 without quotes",
        ),
        (
            "{{ c + 1 }}",
            "text",
            "message.txt, line 1: `+` of c (text) and 1 can't be worked out: join them with `~`",
        ),
        (
            "{{ c|euro }}",
            "text",
            "message.txt, line 1: `euro` needs a number, and c (text) is none: let the query "
            "return one",
        ),
        (
            "{{ c.upper() }}",
            "date",
            "message.txt, line 1: c (a date) has no `upper`: use a filter, or let the query return "
            "what is meant",
        ),
        (
            "A\n\n{{ c|length }}",
            "boolean",
            "message.txt, line 3: the text can't be worked out for a row of the audience (object "
            "of type 'bool' has no len()): check what c holds, or cast it in the query; c "
            "(boolean) is a boolean",
        ),
        (
            "{% for each in c %}{{ each }}{% endfor %}",
            "numeric",
            "message.txt, line 1: the text can't be worked out for a row of the audience "
            "('decimal.Decimal' object is not iterable): check what c holds, or cast it in the "
            "query; c (numeric) is a decimal number",
        ),
    ],
)
def test_an_expression_that_fails_on_its_type_is_reported(
    tmp_path: Path, text: str, kind: str, said: str
) -> None:
    assert faults(tmp_path, text, c=kind) == [said]


@pytest.mark.parametrize("text", ["{{ c + 1 }}", "{{ c|length }}", "{{ c|euro }}", "{{ c.real }}"])
def test_a_column_of_unknown_type_has_no_fault(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text, c="") == []


@pytest.mark.parametrize(
    "text",
    [
        *["{{ 10 / c }}", "{{ 10 % (c - 7) }}", "{{ (c|string)[9] }}", "{{ 'a' * c }}"],
        *["{{ c if c > 1000 else c|money }}", "{{ range(c)|join }}"],
    ],
)
def test_a_value_dependent_expression_is_no_fault(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text, c="integer") == []


def test_a_condition_depending_on_text_values_is_noted(tmp_path: Path) -> None:
    found = campaign(tmp_path, "{% if c is true %}x{% endif %}\n{{ d + 1 }}")
    known = columns(c="text", d="text")

    [fault] = query_checks.faults(found, known)
    [note] = query_checks.notes(found, known)

    assert fault.line == 2
    assert note.startswith(f"{found.text_path}, line 1: `is true` tests c (text), and only a ")
    assert note.endswith(". It works if all rows say yes or no")


def test_a_key_that_may_be_ambiguous_is_noted(tmp_path: Path) -> None:
    found = campaign(tmp_path)

    [note] = query_checks.notes(found, columns(key="double precision"))
    assert note.startswith(f"{found.sql_path}: the key key (double precision) is a floating-point")
    assert list(query_checks.notes(found, columns(key="integer"))) == []


def test_a_technical_type_in_a_text_is_noted(tmp_path: Path) -> None:
    found = campaign(tmp_path, "A\n{{ tags }} {{ names|upper }}")

    [note] = query_checks.notes(found, columns(tags="jsonb", names="jsonb"))

    assert note.startswith(f"{found.text_path}, line 2: {{{{ tags }}}} is of the type jsonb, ")


def test_a_list_in_a_text_is_reported(tmp_path: Path) -> None:
    assert faults(tmp_path, "A\n{{ tags }}", tags="text[]") == [
        "message.txt, line 2: tags is a list, a record, a duration or the like, which a text "
        "can't show: let the query return the one value that is meant"
    ]


def test_a_faulty_text_is_not_checked_twice(tmp_path: Path) -> None:
    assert faults(tmp_path, "{{ msisdn }}") == []


def test_an_answer_is_serialized_as_json() -> None:
    for answer in (
        Answer(tuple(columns(c="date", d=""))),
        Answer(fault=BadCampaign("recipients.sql", 3, "is wrong")),
        Answer(fault=BadCampaign("", None, "is away")),
    ):
        again = Answer.of_json(answer.as_json())  # type: ignore[arg-type]
        assert again.columns == answer.columns
        assert str(again.fault) == str(answer.fault)
