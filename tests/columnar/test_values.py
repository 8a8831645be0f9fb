"""Values keep their source's type in a text's logic, or the text is refused with advice."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.range import Range

from sms.audience.screening import Reason, Screener
from sms.campaign.template import Template
from sms.columnar import kinds, parquet
from sms.columnar.values import ValueKind
from sms.errors import BadCampaign, SourceError
from sms.message.rendering import Renderer, Rendering
from sms.run import preparation
from tests.message.messages import FEW, exclusions, texts

NUMBERS = [33639980000 + n for n in range(100)]


def candidates(**columns: Any) -> pa.RecordBatch:
    """Typed columns as a warehouse's rows or a Parquet have them."""
    count = len(next(iter(columns.values())))
    own = {"key": [str(n) for n in range(count)], "msisdn": [f"+{n}" for n in NUMBERS[:count]]}
    return pa.RecordBatch.from_pydict({**own, **columns})


def rendered(text: str, rows: pa.RecordBatch, *, untyped: bool = False) -> Rendering:
    """Screen and render rows, as the stages do."""
    template = Template(text)
    screener = Screener(
        template.columns, computed=template.computed, needed=template.needed, untyped=untyped
    )
    survey = screener.survey([rows], lambda numbers: numbers[:0])
    survey = preparation.typed(template, survey)
    [screening] = survey.split([rows])
    assert screening.excluded.num_rows == 0
    renderer = Renderer(template=template, sender="LUMIERE", campaign_id="spring1")
    return renderer.render(screening.audience)


def of_a_csv(text: str, **columns: list[str | None]) -> list[str]:
    """The texts of a CSV's rows, whose cells have no type."""
    return texts(rendered(text, candidates(**columns), untyped=True))


MIDNIGHT_THERE = datetime(2027, 3, 2, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "column", "wanted"),
    [
        ("{% if x %}yes{% else %}no{% endif %}", [True, False], ["yes", "no"]),
        ("{% if x == true %}yes{% else %}no{% endif %}", [True, False], ["yes", "no"]),
        ("{% if x is true %}yes{% else %}no{% endif %}", [True, False], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", [1, 0], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", [0.5, 0.0], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["oui", "non"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["Y", "N"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["Vrai", "FAUX"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["1", "0"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["Zoé", "false"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["Zoé", "Non"], ["yes", "yes"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["Oui", *["Zoé"] * 3], ["yes"] * 4),
        ("{% if x %}yes{% else %}no{% endif %}", ["M", "O", "P", "Y"], ["yes"] * 4),
        ("{% if x == 'oui' %}yes{% else %}no{% endif %}", ["oui", "non"], ["yes", "no"]),
        ("{% if x == true %}yes{% else %}no{% endif %}", ["oui", "non"], ["yes", "no"]),
        ("{% if x is false %}no{% else %}yes{% endif %}", ["oui", "non"], ["yes", "no"]),
        ("{% if x in ('oui', 'o') %}yes{% else %}no{% endif %}", ["oui", "non"], ["yes", "no"]),
        ("{{ x }}", ["oui", "non"], ["oui", "non"]),
        ("{{ x|upper }}", ["oui", "non"], ["OUI", "NON"]),
        ("{% if x == 600 %}yes{% else %}no{% endif %}", [600, 5], ["yes", "no"]),
        ("{% if x > 500 %}yes{% else %}no{% endif %}", [600, 5], ["yes", "no"]),
        ("{{ x + 100 }}", [600, 5], ["700", "105"]),
        ("{{ x / 2 }}", [600, 5], ["300", "2.5"]),
        ("{{ x // 2 }}", [600, 5], ["300", "2"]),
        ("{{ x }}", [600.0, 2.5], ["600", "2.5"]),
        ("{{ x }}", [-0.0, -0.5], ["0", "-0.5"]),
        ("{{ x }}", [1e22, 1e-7], ["1" + "0" * 22, "0.0000001"]),
        ("{{ x or 7 }}", [600.0, 0.0], ["600", "7"]),
        (
            "{{ 'Vous avez ' ~ x ~ ' points' }}",
            [600.0, 2.5],
            [f"Vous avez {n} points" for n in (600, 2.5)],
        ),
        ("{{ x * 3 }}", [0.1, 1.0], ["0.3", "3"]),
        ("{{ x }}", [Decimal("12.50"), Decimal("3.00")], ["12.50", "3.00"]),
        ("{{ x * 2 }}", [Decimal("12.55"), Decimal("3.00")], ["25.10", "6"]),
        ("{{ x * 1.2 }}", [Decimal("12.50"), Decimal("3.00")], ["15", "3.60"]),
        ("{{ 1.2 * x - 0.5 }}", [Decimal("12.50"), Decimal("3.00")], ["14.50", "3.10"]),
        ("{{ (x * 1.2)|round(2) }}", [Decimal("12.50"), Decimal("3.00")], ["15", "3.60"]),
        ("{{ x * 1.1 }}", [10, 5], ["11", "5.5"]),
        ("{{ x // 2 }}", [Decimal("-7.5"), Decimal(7)], ["-4", "3"]),
        ("{{ x / 3 }}", [Decimal("10.00"), Decimal("3.00")], ["3.3333333333", "1"]),
        (
            "{{ x.year }}-{{ x.month }}",
            [date(2027, 3, 2), date(1999, 12, 31)],
            ["2027-3", "1999-12"],
        ),
        ("{{ x }}", [date(2027, 3, 2), date(1999, 12, 31)], ["2027-03-02", "1999-12-31"]),
        ("{{ x }}", [MIDNIGHT_THERE, MIDNIGHT_THERE], ["2027-03-03 00:30:00"] * 2),
        ("{{ x.hour }}", [MIDNIGHT_THERE, MIDNIGHT_THERE], ["0", "0"]),
        ("{{ x | date('HH:mm') }}", [MIDNIGHT_THERE, MIDNIGHT_THERE], ["00:30"] * 2),
        (
            "{{ x | date('EEEE d MMMM') }}",
            [date(2027, 3, 3), date(2027, 8, 1)],
            ["mercredi 3 mars", "dimanche 1 aout"],
        ),
        (
            "{{ x | date('d MMMM', locale='nl_BE') }}",
            [date(2027, 3, 3), date(2027, 8, 1)],
            ["3 maart", "1 augustus"],
        ),
        ("{{ x | euro }}", [Decimal("1234.5"), Decimal("0.005")], ["1 234,50 €", "0,01 €"]),
        ("{{ x | euro(decimals=0) }}", [12, 1234567], ["12 €", "1 234 567 €"]),
        ("{{ x | money('CHF', locale='fr_CH') }}", [12.5, -3.0], ["12,50 CHF", "-3,00 CHF"]),
        ("{{ x | number }}", [1234567, 5], ["1 234 567", "5"]),
        ("{{ x | number(1) }}", [2.25, 0.05], ["2,3", "0,1"]),
        ("{{ x|default('?') }}", ["Zoé", ""], ["Zoé", "?"]),
        ("{% if x == '' %}blank{% else %}{{ x }}{% endif %}", ["Zoé", " "], ["Zoé", "blank"]),
        ("{% if x is none %}blank{% else %}{{ x }}{% endif %}", ["Zoé", None], ["Zoé", "blank"]),
        ("{% if x != none %}{{ x }}{% else %}blank{% endif %}", ["Zoé", None], ["Zoé", "blank"]),
    ],
)
def test_values_keep_their_type_in_a_text(text: str, column: list[Any], wanted: list[str]) -> None:
    assert texts(rendered(f"A {text}", candidates(x=column))) == [f"A {each}" for each in wanted]


@pytest.mark.parametrize(
    ("text", "column", "wanted"),
    [
        ("{% if x %}yes{% else %}no{% endif %}", ["true", "false"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["1", "0"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["oui", "Non"], ["yes", "no"]),
        ("{% if x %}yes{% else %}no{% endif %}", ["Zoé", "Non"], ["yes", "yes"]),
        ("{{ x + x }}", ["90", "100"], ["180", "200"]),
        ("{{ x + x }}", ["90", "12.50"], ["180", "25"]),
        ("{{ x | euro }}", ["12,5", "3"], ["12,50 €", "3,00 €"]),
        ("{{ x | date('d MMMM') }}", ["2027-03-03", "2027-12-24"], ["3 mars", "24 décembre"]),
        ("{{ x | date('d MMMM') }}", ["03/03/2027", "24/12/2027"], ["3 mars", "24 décembre"]),
        ("{{ x | date('HH:mm') }}", ["2027-03-03 09:05", "2027-07-03T07:05Z"], ["09:05", "09:05"]),
        # What begins with a nought is a code, and 1,234 may be either of two numbers.
        ("{{ x + x }}", ["01", "02"], ["0101", "0202"]),
        ("{{ x + x }}", ["1,234", "2,5"], ["1,2341,234", "2,52,5"]),
        ("{{ x + x }}", ["90", "Zoé"], ["9090", "ZoéZoé"]),
        ("{{ x + x }}", ["31/02/2027", "24/12/2027"], ["31/02/2027" * 2, "24/12/2027" * 2]),
        ("{{ x }}", ["007", "1e3"], ["007", "1e3"]),
    ],
)
def test_a_csv_column_has_the_type_of_all_cells(
    text: str, column: list[str | None], wanted: list[str]
) -> None:
    assert of_a_csv(f"A {text}", x=column) == [f"A {each}" for each in wanted]


def test_types_agree_over_all_batches_and_ignore_nulls() -> None:
    template = Template("{{ x + x }} {{ y|upper }} {{ z|title }}")
    screener = Screener(template.columns, computed=template.computed, needed=[], untyped=True)
    batches = [
        candidates(x=["1", None, " "], y=["2", "3", "4"], z=["", None, "NULL"]),
        candidates(x=["nan", "2.5", "\\N"], y=["5", "Zoé", "6"], z=["", None, "NULL"]),
    ]

    survey = screener.survey(batches, lambda numbers: numbers[:0])

    assert survey.kinds == {"key": ValueKind.TEXT, "x": ValueKind.DECIMAL, "y": ValueKind.MIXED}


@pytest.mark.parametrize("blank", ["", " ", "\u200b", "\u00a0\u2060", "🌸", "🎉 🎉"])
@pytest.mark.parametrize(
    "text", ["Bonjour {{ x|title }}, ok", "{{ 'M. ' ~ x }}", "A {{ x + '!' }}"]
)
def test_a_blank_is_missing_inside_logic_too(text: str, blank: str) -> None:
    rendering = rendered(text, candidates(x=["Zoé", blank, None]))

    assert rendering.messages.num_rows == 1
    assert exclusions(rendering) == [
        ("1", Reason.EMPTY_VALUE, "x"),
        ("2", Reason.MISSING_VALUE, "x"),
    ]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "text", ["A {{ x }}", "A {{ x * 2 }}", "A {{ x | euro }}", "A {{ 'b' ~ x }}"]
)
def test_no_nan_is_printed(text: str, value: float) -> None:
    template = Template(text)
    rows = candidates(x=[value, 1.0])
    screener = Screener(template.columns, computed=template.computed, needed=template.needed)
    survey = screener.survey([rows], lambda numbers: numbers[:0])
    [screening] = survey.split([rows])
    renderer = Renderer(template=template, sender="LUMIERE", campaign_id="spring1")

    rendering = renderer.render(screening.audience)

    left_out = [*screening.excluded["key"].to_pylist(), *rendering.excluded["key"].to_pylist()]
    assert left_out == ["0"]
    assert rendering.messages["key"].to_pylist() == ["1"]


SAID = ["oui", "non"]
WORDS, WHOLE, YES, DAY = ["Zoé", "Léa"], [600, 5], [True, False], [date(2027, 3, 2)] * 2
MOMENT = [MIDNIGHT_THERE] * 2


@pytest.mark.parametrize(
    ("text", "columns", "problem"),
    [
        (
            "{% if x == '600' %}a{% endif %}",
            {"x": WHOLE},
            "x (a whole number) is compared with the text '600', which is never true",
        ),
        ("{% if x != '600' %}a{% endif %}", {"x": WHOLE}, "write 600 without quotes"),
        ("{% if x in ('1', '2') %}a{% endif %}", {"x": WHOLE}, "write 1 without quotes"),
        (
            "{% if x == 600 %}a{% endif %}",
            {"x": WORDS},
            "x (text) is compared with 600, which is never true: let the query return a number",
        ),
        (
            "{% if x > 500 %}a{% endif %}",
            {"x": WORDS},
            "x (text) is compared with 500, which can't be worked out: let the query",
        ),
        ("{% if 500 < x %}a{% endif %}", {"x": WORDS}, "500 is compared with x (text)"),
        (
            "{% if x == 'oui' %}a{% endif %}",
            {"x": YES},
            "compared with the text 'oui', which is never true: write `if x` or `if not x`",
        ),
        (
            "{% if x > '2027-01-01' %}a{% endif %}",
            {"x": DAY},
            "which can't be worked out: compare them in the query, and let it return a boolean",
        ),
        (
            "{% if x == y %}a{% endif %}",
            {"x": WHOLE, "y": WORDS},
            "let the query return both as the same type",
        ),
        (
            "{% if x < y %}a{% endif %}",
            {"x": DAY, "y": MOMENT},
            "let the query return both as the same type",
        ),
        ("{% if x is true %}a{% endif %}", {"x": WORDS}, "`is true` tests x (text)"),
        ("{% if x is eq '6' %}a{% endif %}", {"x": WHOLE}, "write 6 without quotes"),
        ("{% if x is gt 500 %}a{% endif %}", {"x": WORDS}, "500, which can't be worked out"),
        ("{% if x is in ['1'] %}a{% endif %}", {"x": WHOLE}, "write 1 without quotes"),
        ("{% if x in {'1': 2} %}a{% endif %}", {"x": WHOLE}, "write 1 without quotes"),
        ("{{ {'1': 'a', '2': 'b'}[x] }}", {"x": WHOLE}, "write 1 without quotes"),
        ("{{ {'1': 'a'}.get(x, 'b') }}", {"x": WHOLE}, "write 1 without quotes"),
        ("{{ {1: 'a', 2: 'b'}[x] }}", {"x": WORDS}, "x (text) is compared with 1"),
        (
            "{% set most = '500' %}{% if x > most %}a{% endif %}",
            {"x": WHOLE},
            "x (a whole number) is compared with most (text), which can't be worked out",
        ),
        (
            "{% set sum = x + 1 %}{% set twice = sum * 2 %}{% if twice == '8' %}a{% endif %}",
            {"x": WHOLE},
            "twice (a floating-point number) is compared with the text '8', which is never true",
        ),
        (
            "{% set n = x %}{% if n == '8' %}a{% endif %}",
            {"x": WHOLE},
            "n (a whole number) is compared with the text '8'",
        ),
        (
            "{% set n %}{{ x }}{% endset %}{% if n == 8 %}a{% endif %}",
            {"x": WHOLE},
            "n (text) is compared with 8, which is never true",
        ),
        (
            "{% for step in (100, 200) %}{% if x == step %}a{% endif %}{% endfor %}",
            {"x": WORDS},
            "x (text) is compared with step (a whole number), which is never true",
        ),
        (
            "{% set n = x %}{% if n %}a{% endif %}",
            {"x": ["oui", "non", "peut-être"]},
            "`if n` asks whether it is filled",
        ),
        *(
            ("{% if x %}a{% endif %}", {"x": column}, "`if x` asks whether it is filled")
            for column in (
                ["oui", "pas encore"],
                ["ja", "nein", "nein"],
                ["OK", "KO"],
                ["actif", "Inactif"],
                ["Activé", "désactivé"],
                ["Non.", "Oui."],
                ["n\u200bon", "oui"],
                ["ｎｏｎ", "oui", "x"],
                ["sans", "avec", "avec"],
                ["enabled", "disabled"],
                ["oui", "non (absent)", *["autre"] * 18],
                ["0 €", "10 €"],
                ["0%", "10 %"],
            )
        ),
        (
            "{{ x + y }}",
            {"x": WHOLE, "y": WORDS},
            "`+` of x (a whole number) and y (text) can't be worked out: join them with `~`",
        ),
        (
            "{{ x + 100 }}",
            {"x": WORDS},
            "`+` of x (text) and 100 can't be worked out: join them with `~`",
        ),
        (
            "{{ x * 1.2 }}",
            {"x": WORDS},
            "`*` of x (text) and 1.2 can't be worked out: let the query return numbers",
        ),
        (
            "{{ x + y }}",
            {"x": ["90", "5"], "y": ["100", "7"]},
            "`+` puts x (text, of which much says yes, no or a number) and y (text, of which",
        ),
        ("{{ x + y }}", {"x": ["90", "5", "6"], "y": ["1", "2", "n.c."]}, "as 90 and 10 to 9010"),
        ("{{ x + '10' }}", {"x": ["90", "5"]}, "or write `| float` behind each, or join them"),
        (
            "{{ x + y }}",
            {"x": ["1", "0"], "y": ["0", "0"]},
            "`+` puts x (text that says yes or no)",
        ),
        ("{{ x * 2 }}", {"x": ["90", "5"]}, "`*` repeats x (text, of which"),
        ("{% if x > y %}a{% endif %}", {"x": ["90", "5"], "y": ["100", "7"]}, "letter by letter"),
        ("{% if x > '500' %}a{% endif %}", {"x": ["90", "600"]}, "letter by letter"),
        ("{% if '500' <= x %}a{% endif %}", {"x": ["90", "600"]}, "letter by letter"),
        ("{% if x is gt '500' %}a{% endif %}", {"x": ["90", "600"]}, "letter by letter"),
        ("{% if x > 500 %}a{% endif %}", {"x": ["90", "600"]}, "write `| float` behind the column"),
        ("{{ x - y }}", {"x": WORDS, "y": WORDS}, "`-` of x (text) and y (text)"),
        ("{{ 'a' ~ x }}", {"x": YES}, "`~` joins x (a boolean)"),
        ("{{ x.upper() }}", {"x": WHOLE}, "x (a whole number) has no `upper`: use a filter"),
        ("{{ x.strftime('%d') }}", {"x": WORDS}, "x (text) has no `strftime`"),
        ("{{ x[0] }}", {"x": WHOLE}, "x (a whole number) has no parts"),
        ("{{ x | euro }}", {"x": WORDS}, "`euro` needs a number, and x (text) is none"),
        ("{{ x | round }}", {"x": WORDS}, "`round` needs a number, and x (text) is none"),
        ("{{ x | date('d MMMM') }}", {"x": WORDS}, "`date` needs a date, and x (text) is none"),
        (
            "{{ x | date('d MMMM') }}",
            {"x": WHOLE},
            "`date` needs a date, and x (a whole number) is none",
        ),
    ],
)
def test_an_expression_that_fails_or_never_holds_is_refused(
    text: str, columns: dict[str, list[Any]], problem: str
) -> None:
    with pytest.raises(BadCampaign) as refused:
        rendered(f"Bonjour\n{text} {{{{ key }}}}", candidates(**columns))

    assert str(refused.value).startswith("message.txt, line 2: ")
    assert problem in str(refused.value)


@pytest.mark.parametrize("text", ["{{ x }}", "{% if x %}a{% endif %}", "{{ x[0] | upper }}"])
@pytest.mark.parametrize(
    "value", [["a", "b"], {"a": 1}, [], timedelta(days=1), Range(1, 5), IPv4Address(7), 1j]
)
def test_values_without_a_text_form_are_refused(text: str, value: Any) -> None:
    rows = parquet.from_rows(["key", "msisdn", "x"], [("1", "+33639980001", value)])

    with pytest.raises(BadCampaign, match=r"line 2: x is a list, a record, a duration or the like"):
        rendered(f"Bonjour\n{text} {{{{ key }}}}", rows)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["a"]]),
        pa.array([{"a": 1}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([timedelta(days=1)]),
        pa.array(['{"a": 1}'], pa.json_()),
    ],
)
def test_file_columns_without_a_text_form_are_refused(column: pa.Array) -> None:
    rows = parquet.as_text(candidates(x=column))

    with pytest.raises(BadCampaign, match="x is a list, a record, a duration or the like"):
        rendered("Bonjour {{ x }}", rows)
    assert texts(rendered("Bonjour", rows)) == ["Bonjour"]


def test_a_boolean_of_one_byte_is_true_or_false() -> None:
    bytes_of_it = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, None], pa.int8()))

    rows = parquet.as_text(candidates(x=bytes_of_it))

    assert texts(rendered("{% if x %}a{% else %}b{% endif %}", rows)) == ["b", "a", "b"]


def test_a_bit_of_mysql_is_true_or_false() -> None:
    rows = [(str(n), f"+{NUMBERS[n]}", bit) for n, bit in enumerate([b"\x00", b"\x01", None])]
    columns = parquet.from_rows(["key", "msisdn", "x"], rows)

    assert kinds.of_schema(columns.schema)["x"] is ValueKind.BOOLEAN
    assert texts(rendered("{% if x %}a{% else %}b{% endif %}", columns)) == ["b", "a", "b"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("{% if x == 1 or y %}a{% endif %}b", {"x": YES, "y": WHOLE}),
        ("{% if x == 'Zoé' and y > 1.5 %}a{% endif %}b", {"x": WORDS, "y": WHOLE}),
        ("{% if 'Z' in x %}a{% endif %}b{{ x[0] }}", {"x": WORDS}),
        ("{{ '%s et %s' % (x, y) }}{{ x * 2 }}{{ x.upper() }}", {"x": WORDS, "y": WHOLE}),
        ("{{ (x|length) + y }}{{ x|default(y) }}", {"x": WORDS, "y": WHOLE}),
        ("{{ x if y else '' }}{{ (x - x).days }}", {"x": DAY, "y": YES}),
        ("{{ (x or 0) + y }}", {"x": WHOLE, "y": [1.5, 2.5]}),
        ("{% set n = x + 1 %}{{ n }}{% for c in 'ab' %}{{ c }}{% endfor %}", {"x": WHOLE}),
        ("{% set n = 0 %}{% set n = n + x %}{% if n > 5 %}a{% endif %}b", {"x": WHOLE}),
        ("{% set n = 0 %}{% set n = x %}{% if n == 'Zoé' %}a{% endif %}b", {"x": WORDS}),
        ("{% set x = x | int %}{% if x > 5 %}a{% endif %}b", {"x": ["1 234", "7"]}),
        ("{% set a = b or 1 %}{% set b = a %}{% if a == 'x' %}a{% endif %}b", {"b": WORDS}),
        (
            "{% for a, b in [(1, 'x')] %}{% if b == x and a == 1 %}a{% endif %}{% endfor %}b",
            {"x": WORDS},
        ),
        ("{% macro m(n) %}{% if n == x %}a{% endif %}{% endmacro %}{{ m(1) }}b", {"x": WORDS}),
        ("{{ {'Zoé': 'a', 'Léa': 'b'}[x] }}{% if x in {'Zoé': 1} %}a{% endif %}", {"x": WORDS}),
        ("{% if x is eq 600 or x is in [1, 2] or x is divisibleby 5 %}a{% endif %}b", {"x": WHOLE}),
    ],
)
def test_valid_expressions_are_not_refused(text: str, columns: dict[str, list[Any]]) -> None:
    assert rendered(text, candidates(**columns)).messages.num_rows == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ x.split(' ')[0].nothing }}", "has no attribute 'nothing'"),
        ("{{ x.split(' ') + 1 }}", "TypeError"),
        ("{{ x.split(' ')[0] > 1 }}", "'>' not supported between instances of 'str' and 'int'"),
        ("{{ x.split(' ')[0] | euro }}", "`euro` needs a number"),
    ],
)
def test_failing_logic_is_reported_by_line_and_column_only(text: str, problem: str) -> None:
    with pytest.raises(BadCampaign) as refused:
        rendered(f"Bonjour\n{text}", candidates(x=["Zoé", "Léa"]))

    said = str(refused.value)
    assert said.startswith("message.txt, line 2: the text can't be worked out for a row")
    assert problem in said
    assert "check what x holds" in said
    assert "Zoé" not in said


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("HH:mm", "15:05"),
        ("H\\'h\\'mm", "15h05"),
        ("h:mm a", "3:05 PM"),
        ("dd/MM/y \\'à\\' HH:mm", "02/03/2027 à 15:05"),
        ("EEEE d MMMM yyyy", "mardi 2 mars 2027"),
        ("HHmm", "1505"),
    ],
)
def test_an_unambiguous_date_pattern_is_accepted(pattern: str, written: str) -> None:
    at = [datetime(2027, 3, 2, 14, 5, tzinfo=UTC)]

    assert texts(rendered("A {{ x | date('" + pattern + "') }}", candidates(x=at))) == [
        f"A {written}"
    ]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("x <= 9.99", "10"),
        ("x < 9.99", "00"),
        ("x >= 9.99", "11"),
        ("x != 9.99", "01"),
        ("x in [9.99, 3]", "10"),
        ("x == y", "10"),
        ("x < y", "01"),
        ("x / 2 == 4.995", "10"),
    ],
)
@pytest.mark.parametrize("kind", [Decimal, float])
def test_decimals_and_floats_compare_like_literals(
    condition: str, wanted: str, kind: Callable[[str], Any]
) -> None:
    rows = candidates(x=[kind("9.99"), kind("10.5")], y=[9.99, 11.0])
    rendering = rendered("A{% if " + condition + " %}1{% else %}0{% endif %}", rows)

    assert texts(rendering) == [f"A{each}" for each in wanted]


@pytest.mark.parametrize(
    ("text", "column", "wanted"),
    [
        ("{{ x|round(2) }}", [Decimal("2.665"), Decimal("1.005"), None], ["2.67", "1.01"]),
        ("{{ x|round }}", [Decimal("2.5"), Decimal("2.4"), None], ["3", "2"]),
        ("{{ x|euro }}", [Decimal("-0.001"), Decimal("0.0"), None], ["0,00 €", "0,00 €"]),
        ("{{ x|money('JPY') }}", [1234.5, 5.0, None], ["1 235 JPY", "5 JPY"]),
        ("{{ x|number }}", [1e20, 5.0, None], ["100 000 000 000 000 000 000", "5"]),
        ("{{ (x*3)|replace('.', ',') }}", [0.1, 4.0, None], ["0,3", "12"]),
        ("{{ '%s'|format(x) }}", [1e-7, 4.0, None], ["0.0000001", "4"]),
        ("{{ x|string }}", [True, False, None], ["true", "false"]),
        ("{{ x // 2 }}", [Decimal(-7), Decimal(7), None], ["-4", "3"]),
        ("{{ x|float|euro }}", ["12,5", "1 234", None], ["12,50 €", "1 234,00 €"]),
        ("{{ x|int + 1 }}", ["12,5", "7", None], ["13", "8"]),
        ("{{ 1 / x }}", [4, 2, 0], ["0.25", "0.5"]),
        ("{{ ['a', 'b', 'c'][x] }}", [0, 2, 33612345678], ["a", "c"]),
        ("{{ {'a': 'A', 'b': 'B'}[x] }}", ["a", "b", "Dupont"], ["A", "B"]),
        ("{{ x|float }}", ["1", "2", "Dupont"], ["1", "2"]),
        ("{% if x in 'ab' %}{{ x }}{% endif %}", ["a", "b", None], ["a", "b"]),
    ],
)
def test_a_missing_value_excludes_its_row_without_a_quote(
    text: str, column: list[Any], wanted: list[str]
) -> None:
    rendering = rendered(f"A {text}", candidates(x=column))

    assert texts(rendering) == [f"A {each}" for each in wanted]
    [(key, reason, detail)] = exclusions(rendering)
    assert (key, reason) == ("2", Reason.MISSING_VALUE)
    assert "33612345678" not in detail
    assert "Dupont" not in detail


@pytest.mark.parametrize(
    "text",
    [
        *("{{ x.upper }}", "{{ x|map('upper') }}", "{{ x|unique }}", "{{ (x, x) }}"),
        *("{{ x.split() }}", "{{ x.encode() }}", "{% macro m() %}a{% endmacro %}{{ m }}{{ x }}"),
        "{{ y - y }}",
        "{{ y.strftime('%A %d %B') }}",
    ],
)
def test_technical_values_are_refused_in_a_text(text: str) -> None:
    with pytest.raises(BadCampaign) as refused:
        rendered(text, candidates(x=["Zoé", "Léa"], y=DAY))

    assert "Zoé" not in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("%A %d %B", "are English: write `| date("), ("%100000d", "repeats, pads or counts more")],
)
def test_a_strftime_format_is_refused_with_its_problem(pattern: str, told: str) -> None:
    with pytest.raises(BadCampaign, match=re.escape(told)):
        rendered("{{ y.strftime('" + pattern + "') }}", candidates(y=DAY))


@pytest.mark.parametrize("column", [["oui", "non", "non", "inconnu"], ["0.00", "5.00", "x", "1"]])
def test_a_condition_on_almost_boolean_text_is_refused(column: list[str]) -> None:
    for untyped in (False, True):
        with pytest.raises(BadCampaign, match="asks whether it is filled, and it is"):
            rendered("{% if x %}a{% else %}b{% endif %}", candidates(x=column), untyped=untyped)


@pytest.mark.parametrize(
    "text",
    [
        *("{% if x == '75001' %}a{% endif %}", "{% if x[:2] == '75' %}a{% endif %}"),
        *(
            "{% if x.startswith('75') %}a{% endif %}",
            "{% if x in ('75001', '01000') %}a{% endif %}",
        ),
    ],
)
def test_csv_integers_used_as_text_are_codes(text: str) -> None:
    assert of_a_csv(text + "b", x=["75001", "69001"]) == ["ab", "b"]
    with pytest.raises(BadCampaign):
        rendered(text + "b", candidates(x=[75001, 69001]))


def test_single_letters_are_no_booleans() -> None:
    with pytest.raises(BadCampaign, match="asks whether it is filled"):
        rendered("{% if x %}a{% else %}b{% endif %}", candidates(x=["F", "F"]))


def test_one_non_numeric_cell_never_concatenates_the_numbers() -> None:
    points, bonus = ["90", "5", "6"], ["100", "7", "n.c."]
    with pytest.raises(BadCampaign, match="join them with `~`"):
        of_a_csv("{{ x + y }}", x=points, y=bonus)

    assert of_a_csv("{{ x ~ y }}", x=points, y=bonus) == ["90100", "57", "6n.c."]
    assert of_a_csv("{{ x + 1 }} {{ y + ' pts' }}", x=points, y=bonus)[0] == "91 100 pts"
    assert of_a_csv("{{ x + (y | float(0)) }}", x=points, y=bonus) == ["190", "12", "6"]


def test_a_csvs_spelling_is_kept_in_logic_too() -> None:
    text = "{% if y %}{{ x }}{% endif %} {{ z }}{% if y %} {{ x * 2 }}{% endif %}"

    assert of_a_csv(text, x=["12,50"], y=["oui"], z=["03/04/2027"]) == ["12,50 03/04/2027 25"]
    assert of_a_csv("{{ x if y }} {{ x }}", x=["03/04/2027"], y=["oui"]) == [
        "03/04/2027 03/04/2027"
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2147483647, -719163, 20000], pa.date32()),
        pa.array([2**62, -(2**63), 10**15], pa.timestamp("us")),
        pa.array([2**40, -(2**40), 10**9], pa.timestamp("s")),
    ],
    ids=str,
)
def test_a_date_outside_pythons_range_is_missing(column: pa.Array) -> None:
    batch = parquet.as_text(pa.record_batch({"x": column}))

    assert batch["x"].to_pylist()[:2] == [None, None]
    assert batch["x"].to_pylist()[2].startswith("20")


def test_an_unknown_time_zone_is_reported_by_column() -> None:
    column = pa.array([1], pa.timestamp("s", tz="Mars/Olympus"))

    with pytest.raises(SourceError, match="column x holds values of a type that can't be read"):
        parquet.as_text(pa.record_batch({"x": column}))


def test_a_missing_second_word_excludes_its_row() -> None:
    rendering = rendered("{{ x.split(' ')[1] }}", candidates(x=["Zoé Blanc", "Léa"]))

    assert texts(rendering) == ["Blanc"]
    assert exclusions(rendering)[0][1] == Reason.MISSING_VALUE


@pytest.mark.parametrize(
    "pattern",
    [
        *("%d/%m", "DD/MM/YYYY", "dd/mm/yyyy", "HH:MM", "d MMMM à HH:mm QQ", "d" * 101, "", "  "),
        *("HHhmm", "HH h mm", "d MMMM à H h", "hh:mm", "h:mm", "dd/mm/y HH:mm", "HH:mm dd/mm/y"),
        *("d MMMM \\'à 15h", "dd-MM-yyyyy", "yyy", "dddd d MMMM"),
    ],
)
def test_an_ambiguous_date_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadCampaign, match="the pattern of `date`"):
        Template("{{ x | date('" + pattern + "') }}")


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([(1,), (None,), (2,)], ValueKind.INTEGER),
        ([(1,), (Decimal("2.5"),)], ValueKind.DECIMAL),
        ([(True,), (None,)], ValueKind.BOOLEAN),
        ([(True,), (1,)], ValueKind.TEXT),
        ([("a",), (1,)], ValueKind.TEXT),
        ([(date(2027, 1, 1),)], ValueKind.DATE),
        ([(MIDNIGHT_THERE,)], ValueKind.TIMESTAMP),
        ([(None,)], None),
        ([], None),
    ],
)
def test_a_cursors_values_give_the_columns_kind(rows: list[Any], kind: ValueKind | None) -> None:
    assert kinds.of_field(parquet.from_rows(["x"], rows).schema.field("x")) == kind


def test_a_files_types_come_from_all_its_rows(tmp_path: Any) -> None:
    path = tmp_path / "rows.parquet"
    batches = [
        parquet.from_rows(["x", "y", "z"], []),
        parquet.from_rows(["x", "y", "z"], [(None, 1, True)]),
        parquet.from_rows(["x", "y", "z"], [(1, "a", None)]),
        parquet.from_rows(["x", "y", "z"], [(2.5, "b", False)]),
    ]

    parquet.write(path, batches)

    [batch] = parquet.batches(path, ["z", "x", "y"])
    assert kinds.of_schema(batch.schema) == {
        "x": ValueKind.FLOAT,
        "y": ValueKind.TEXT,
        "z": ValueKind.BOOLEAN,
    }


AMOUNTS = st.decimals(-(10**15), 10**15, allow_nan=False, places=2)
WHOLE_ONES = st.integers(-(10**18), 10**18)


@FEW
@given(st.lists(st.one_of(st.none(), WHOLE_ONES, AMOUNTS), min_size=1, max_size=20))
def test_sums_of_numbers_are_exact(numbers: list[int | Decimal | None]) -> None:
    rows = [(str(n), f"+{NUMBERS[n]}", x) for n, x in enumerate(numbers)]
    rendering = rendered("A {{ x + 1 }}", parquet.from_rows(["key", "msisdn", "x"], rows))

    sums = [f"{Decimal(number) + 1:f}" for number in numbers if number is not None]
    wanted = [f"A {each.removesuffix('.00')}" for each in sums]
    short = [text for text in wanted if len(text) <= 160]
    assert texts(rendering) == short
