"""Rendering: exact texts, every recipient accounted for, no value read as a template."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sms.audience.screening import Reason, nothing_on_a_phone
from sms.campaign.template import Template
from sms.columnar.nulls import are_nulls
from sms.columnar.values import PLAIN_NO
from sms.errors import BadCampaign, SourceError
from sms.message.rendering import Renderer, idremote
from sms.telecom import gsm
from sms.wire import send_file
from sms.wire.send_file import Dialect
from tests.message.messages import FEW, NUMBER, audience, exclusions, rendered, texts

VALUE = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from('éeç\u0301œ’😀 \u00a0\n;"€{}%\u0000')),
    max_size=12,
).filter(lambda value: not _is_missing(value))


def _is_missing(value: str) -> bool:
    """Whether the screening leaves it out, or logic takes it for a no."""
    texts = pa.array([value], pa.large_string())
    return bool((are_nulls(texts) | nothing_on_a_phone(texts)).any() or value.strip() in PLAIN_NO)


def test_a_message_has_all_fields_of_file_and_ledger():
    rendering = rendered("Bonjour {{ name }}", audience(name=["Zoé"]))

    assert rendering.messages.to_pylist() == [
        {
            "idremote": "d5144a3d61a3feb677926eaed31e55a3",
            "msisdn": NUMBER,
            "oadc": "BOUTIQUE",
            "msg": "Bonjour Zoé",
            "segments": 1,
            "key": "k0",
            "country": "FR",
        }
    ]
    assert rendering.excluded.num_rows == 0


def test_a_value_is_never_read_as_a_template():
    rows = audience(name=["{{ city }}", "{% raw %}", "{# x"], city=["Lyon"] * 3)

    assert texts(rendered("A {{ name }}", rows)) == ["A {{ city }}", "A {% raw %}", "A {# x"]
    assert texts(rendered("A {{ name|trim }}", rows)) == ["A {{ city }}", "A {% raw %}", "A {# x"]


@pytest.mark.parametrize(
    "null",
    [
        *(None, "nan", "NaN", "None", "NaT", "<NA>", "NULL", "null", "NA", "nan ", " None"),
        *(r"\N", "(null)", "(NULL)", "undefined", "Undefined", "#N/A", "#n/a", "#REF!", "#VALEUR!"),
        *("#NOM?", "#DIV/0!", "[object Object]", "inf", "-inf", "Infinity", "N/A", "[NULL]"),
        *("#N/D", "#CALC!", "#CHAMP!", "#BLOQUÉ!", "#ERROR!", "Err:502", "#WERT!", "#NV", "#¡REF!"),
        *("(undefined)", "[Object object]", "1.#IND", "NoneType"),
    ],
)
@pytest.mark.parametrize("text", ["A {{ city }} {{ name }}", "A {{ city }} {{ name|upper }}"])
def test_a_null_excludes_its_row_instead_of_being_written(text, null):
    rendering = rendered(text, audience(name=["Zoé", null], city=["Lyon", "Lyon"]))

    assert rendering.messages.num_rows == 1
    assert exclusions(rendering) == [("k1", Reason.MISSING_VALUE, "name")]
    assert rendering.excluded.column("msisdn").to_pylist() == [f"+{NUMBER + 1}"]
    assert rendering.reasons == {Reason.MISSING_VALUE: 1}


@pytest.mark.parametrize("name", ["Nil", "Nan", "Null", "Nat", "Na", "Nonette", "Infante", "nat"])
def test_a_name_that_resembles_a_null_is_kept(name):
    assert texts(rendered("A {{ name }}", audience(name=[name], city=["Lyon"]))) == [f"A {name}"]


def test_a_text_with_logic_may_test_for_missing_values():
    rows = audience(name=["Zoé", None], city=["Lyon", "Nice"])
    text = "{% if name %}{{ name }}{% else %}Client{% endif %} {{ name|default('?') }} {{ city }}"

    assert texts(rendered(text, rows)) == ["Zoé Zoé Lyon", "Client ? Nice"]
    assert texts(rendered("{{ name or city }}{% if name == 'x' %}!{% endif %}", rows)) == [
        "Zoé",
        "Nice",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{{ none }}",
        "{{ name.split()[9] }}",
        "{{ (name[:0] ~ 'nan')|float }}",
        "{{ 1 / (name|length - 3) }}",
        "{{ 1.5 % (name|length - 3) }}",
        "{{ name|int }}",
        "{{ {'a': 1}[name] }}",
        "{{ [1, 2][name|length] }}",
    ],
)
def test_an_empty_expression_excludes_its_row(text):
    rendering = rendered("A " + text + "{{ name|length * 0 }}", audience(name=["Zoé"]))

    assert rendering.reasons == {Reason.MISSING_VALUE: 1}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("ok\n{{ name", 2, "end of print statement"),
        ("ok\n{{ name }", 2, ""),
        ("{% if name %}", 1, "endif"),
        ("a\nb\n{% sms %}", 3, "sms"),
        ("a\n{{ name|shout }}", 2, "shout"),
        ("a\n{% if name %}{{ name|shout }}{% endif %}", 2, "shout"),
        ("{{ name|random }}", 1, "random"),
        ("a\n{% include 'other.txt' %}", 2, "another file"),
        ("{% extends 'other.txt' %}", 1, "another file"),
        (" \n ", 1, "empty"),
    ],
)
def test_a_bad_template_is_reported_with_its_line(text, line, problem):
    with pytest.raises(BadCampaign) as raised:
        Template(text, "spring/message.txt")

    assert raised.value.path == "spring/message.txt"
    assert raised.value.line == line
    assert problem in raised.value.problem


def test_a_missing_column_is_reported_with_its_line():
    wanted = r"line 2: .*firstname.*name one of city, country, key, msisdn"
    with pytest.raises(BadCampaign, match=wanted):
        rendered("Bonjour\n{{ firstname }}", audience(city=["Lyon"]))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ok\n{{ name.__class__.__mro__ }}", "may not"),
        ("ok\n{{ name.nickname }}", "has no attribute 'nickname'"),
        ("ok\n{{ name + 1 }}", "can only concatenate str"),
    ],
)
def test_a_failing_text_is_reported_without_the_value(text, problem):
    with pytest.raises(BadCampaign, match=problem) as raised:
        rendered(text, audience(name=["secret"]))

    assert raised.value.line == 2
    assert "secret" not in str(raised.value)


def test_columns_are_known_in_the_order_of_the_text():
    template = Template("{{ b }} {{ a }}\n{% for x in c.split() %}{{ x }}{% endfor %} {{ b }}")

    assert template.columns == ("b", "a", "c")
    assert template.lines == {"b": 1, "a": 1, "c": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ a }} {{ 'words' }} {# a comment #}{% raw %}{{ b }}{% endraw %}{{ 2 + 3 }}", None),
        (
            "x\n{{ a|upper }}{{ b|lower }}",
            "line 2: `upper` is worked out by Python, once for each ",
        ),
        ("{% if a %}{{ b }}{% endif %}", "line 1: `if` .* each combination of a and b"),
        ("{{ 'x' if a else b }}", "line 1: `if` .* each combination of a and b"),
        ("\n{% set c = a %}{{ c }} {{ b }}", "line 2: with `set` Python renders the whole text"),
    ],
)
def test_a_text_not_renderable_by_column_says_so(text, reason):
    slow = Template(text).slow_because

    assert re.match(reason, slow) if reason else slow is None


def test_logic_runs_once_per_combination_of_its_columns():
    asked = []

    class Counting(Template):
        def _logic(self, body):
            piece = super()._logic(body)
            return replace(piece, compiled=Watched(piece.compiled))

    class Watched:
        def __init__(self, compiled):
            self.compiled = compiled

        def render(self, values):
            asked.append(tuple(values.values()))
            return self.compiled.render(values)

    text = "{{ a|upper }} {{ b }} {% if a == b %}={% endif %}"
    rows = audience(a=["x", "x", "y", "x"], b=["x", "z", "y", "x"])
    renderer = Renderer(template=Counting(text), sender="BOUTIQUE", campaign_id="spring1")

    assert texts(renderer.render(rows)) == ["X x =", "X z", "Y y =", "X x ="]
    assert sorted(asked) == [("x",), ("x", "x"), ("x", "z"), ("y",), ("y", "y")]


def outer(text: str, **values: str) -> str:
    """The plain way: Jinja on one row."""
    return jinja2.Template(text).render({name: trim(value) for name, value in values.items()})


def trim(text: str) -> str:
    return pc.utf8_trim_whitespace(pa.scalar(text, pa.large_string())).as_py()


TEXTS = [
    "Cher {{ a }},e{{ b }}\n« {{ a }} »ç",
    "{{ a }}{{ b }}",
    "🎉 {{ a }} {{ b|upper }}",
    "{{ a|title }}{% if b %} et {{ b }}{% else %}e{% endif %}{{ a ~ b }}́",
    "{% for x in a.split() %}{{ x }}-{% endfor %} {{ b }}",
    "{% set x = a ~ b %}{{ x }}, {{ x|length }}",
]


@FEW
@given(st.sampled_from(TEXTS), st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=6))
@example(TEXTS[0], [("x", "́t")])  # a mark that melts into the template's e
@example(TEXTS[1], [("Zoe", "́")])
@example(TEXTS[3], [("x", "ae")])
def test_rendering_by_column_matches_jinja_row_by_row(text, rows):
    batch = audience(a=[a for a, _ in rows], b=[b for _, b in rows])

    for unicode in (False, True):
        rendering = rendered(text, batch, long_sms=True, unicode=unicode)

        plain = [outer(text, a=a, b=b) for a, b in rows]
        cleaned = gsm.clean(pa.array(plain, pa.large_string()), unicode=unicode)
        expected = [trim(one) for one in cleaned.texts.to_pylist()]
        assert texts(rendering) == [one for one in expected if one]
        assert rendering.reasons[Reason.EMPTY_TEXT] == expected.count("")
        if "" not in expected:
            assert rendering.replaced == cleaned.replaced
        messages = rendering.messages
        assert messages.column("segments").to_pylist() == [
            *gsm.segments(messages.column("msg"), unicode=unicode)
        ]
        in_pieces, whole = rendering.block(Dialect()), send_file.block(messages, Dialect())
        assert bytes(in_pieces.data) == bytes(whole.data)
        assert (in_pieces.rows, in_pieces.segments) == (whole.rows, whole.segments)


@FEW
@given(st.lists(VALUE, min_size=1, max_size=6), st.sampled_from(["quote", "replace", "refuse"]))
def test_rendering_by_column_and_row_agree_under_every_policy(values, policy):
    batch = audience(a=values)
    settings: dict[str, Any] = {"delimiter_in_text": policy, "unsupported": "exclude"}

    by_column = rendered("é {{ a }}", batch, stop_mention="STOP 36105", **settings)
    by_row = rendered("é {{ a|string }}", batch, stop_mention="STOP 36105", **settings)

    assert by_column.messages.equals(by_row.messages)
    assert by_column.excluded.equals(by_row.excluded)
    assert by_column.replaced == by_row.replaced
    assert by_column.suspects["mojibake"].tolist() == by_row.suspects["mojibake"].tolist()


@FEW
@given(st.lists(st.one_of(st.none(), VALUE), max_size=8))
def test_every_row_is_a_message_or_excluded_in_order(values):
    batch = audience(a=values)
    rendering = rendered("{{ a }}", batch, unsupported="exclude", delimiter_in_text="refuse")

    written = rendering.messages.column("key").to_pylist()
    left_out = rendering.excluded.column("key").to_pylist()
    assert sorted(written + left_out) == sorted(batch.column("key").to_pylist())
    assert written == sorted(written)


def test_outer_white_space_is_stripped_and_not_counted():
    rendering = rendered("\n {{ a }} \n\n", audience(a=["\u00a0x" + "a" * 159]))

    assert texts(rendering) == ["x" + "a" * 159]
    assert rendering.messages.column("segments").to_pylist() == [1]


def test_a_dictionary_column_may_use_every_index():
    words = [f"n{number}" for number in range(128)]
    column = pa.DictionaryArray.from_arrays(
        pa.array([*range(128), None], pa.int8()), pa.array(words, pa.large_string())
    )
    rows = audience(a=[*words, None]).drop_columns(["a"])
    rendering = rendered("{{ a }}", rows.append_column("a", column))

    assert texts(rendering) == words
    assert rendering.reasons == {Reason.MISSING_VALUE: 1}


def test_an_empty_text_excludes_its_row():
    rendering = rendered("{{ a }}", audience(a=["", " ", "😀", "x"]), stop_mention="STOP 36105")

    assert texts(rendering) == ["x STOP 36105"]
    assert rendering.reasons == {Reason.EMPTY_TEXT: 3}


def test_the_stop_mention_is_appended_once_and_counted():
    rows = audience(a=["a" * 149, "a" * 150, "STOP 36105 x"])
    rendering = rendered("{{ a }}", rows, stop_mention="STOP 36105")

    assert texts(rendering) == ["a" * 149 + " STOP 36105", "STOP 36105 x"]
    assert exclusions(rendering) == [
        ("k1", Reason.TEXT_TOO_LONG, "161 septets in 2 segments, 1 allowed")
    ]
    assert texts(rendered("A {{ a }} STOP 36105", rows.slice(2), stop_mention="STOP 36105")) == [
        "A STOP 36105 x STOP 36105"
    ]


# What a mention may be cut into by the columns of a text, and what only looks like it.
SHREDS = ("STOP 36105", "STO", "STOP", "ST", "S", "P", "P 361", "36105", "05", "5", "x", "")


@FEW
@given(st.lists(st.tuples(*[st.sampled_from(SHREDS)] * 4), min_size=1, max_size=8))
@example([("STO", "P", "", "x"), ("xST", "x", "OP", "x")])
@example([("S", "TOP", "36", "105")])
def test_a_stop_mention_is_found_across_pieces_of_text(rows):
    text = "{{ a }}{{ b }} {{ c }}{{ d }}"
    columns = dict(zip("abcd", map(list, zip(*rows, strict=True)), strict=True))
    rendering = rendered(text, audience(**columns), stop_mention="STOP 36105")

    plain = [trim(outer(text, **dict(zip("abcd", row, strict=True)))) for row in rows]
    whole = re.compile(r"(?<![\w-])STOP 36105(?!\w)")
    expected = [one if whole.search(one) else f"{one} STOP 36105" for one in plain if one]
    assert texts(rendering) == expected


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("Promo STOP 361052", "STOP 36105"),
        ("Promo NON-STOP 36105", "STOP 36105"),
        ("Promo, non stop 36105 jours", "stop 36105"),
        ("Promo, Non  stop 36105 jours", "stop 36105"),
        ("AUTOSTOP 36105", "STOP 36105"),
        ("Refus https://x.fr/so", "Refus https://x.fr/s"),
        ("Refus https://x.fr/s/promo", "Refus https://x.fr/s"),
        ("Refus https://x.fr/s?u=1", "Refus https://x.fr/s"),
        ("Refus https://x.fr/s.html", "Refus https://x.fr/s"),
    ],
)
def test_a_mention_inside_another_word_does_not_count(text, mention):
    assert texts(rendered(text, audience(a=["x"]), stop_mention=mention)) == [f"{text} {mention}"]
    split = audience(a=[text[:-3]], b=[text[-3:]])
    assert texts(rendered("{{ a }}{{ b }}", split, stop_mention=mention)) == [f"{text} {mention}"]


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("STOP 36105 Promo", "STOP 36105"),
        ("Promo (STOP 36105).", "STOP 36105"),
        ("Promo.STOP 36105, merci", "STOP 36105"),
        ("Promo\nSTOP 36105\nMerci", "STOP 36105"),
        ("Refus https://x.fr/s.", "Refus https://x.fr/s"),
        ("Refus https://x.fr/s ou au magasin", "Refus https://x.fr/s"),
        ("Promo Stop au 36105.", "Stop au 36105."),
    ],
)
def test_a_text_of_the_mention_alone_is_not_doubled(text, mention):
    for cut in (1, 3, len(text) - 3):
        split = audience(a=[text[:cut]], b=[text[cut:]])
        assert texts(rendered("{{ a }}{{ b }}", split, stop_mention=mention)) == [text]


@FEW
@given(st.lists(st.tuples(*[st.sampled_from(("", "x", "😀 y", "y 😀", "😀", "\u3000"))] * 3)))
@example([("😀 y", "x", "x"), ("", "😀 y", "y 😀"), ("", "", "y 😀"), ("x", "x", "x")])
def test_white_space_exposed_by_cleaning_is_stripped_per_row(rows):
    columns = {name: [row[place] for row in rows] for place, name in enumerate("abc")}
    rendering = rendered("{{ a }}{{ b }}{{ c }}", audience(**columns), stop_mention="STOP 36105")

    joined = pa.array(["".join(map(trim, row)) for row in rows], pa.large_string())
    stripped = [text.strip() for text in gsm.clean(joined).texts.to_pylist()]
    assert texts(rendering) == [f"{text} STOP 36105" for text in stripped if text]
    lengths = gsm.septets(rendering.messages.column("msg"))
    assert lengths.tolist() == [len(text) + 11 for text in stripped if text]
    assert rendering.replaced["U+1F600"] == sum(
        "".join(row).count("😀") for row, text in zip(rows, stripped, strict=True) if text
    )


def test_an_excluded_row_keeps_its_own_detail_among_others():
    rows = audience(a=["z" * 162, "x", "", "y" * 161, "y"], b=["", "1", "", "", None])
    rendering = rendered("{{ a }}{{ b }}", rows)

    assert exclusions(rendering) == [
        ("k0", Reason.TEXT_TOO_LONG, "162 septets in 2 segments, 1 allowed"),
        ("k2", Reason.EMPTY_TEXT, "no text is left"),
        ("k3", Reason.TEXT_TOO_LONG, "161 septets in 2 segments, 1 allowed"),
        ("k4", Reason.MISSING_VALUE, "b"),
    ]
    assert rendering.excluded.column("row").to_pylist() == [1, 3, 4, 5]
    assert texts(rendering) == ["x1"]


def test_long_texts_may_have_up_to_five_segments():
    rows = audience(a=["a" * 161, "a" * 765, "a" * 766])
    rendering = rendered("{{ a }}", rows, long_sms=True)

    assert rendering.messages.column("segments").to_pylist() == [2, 5]
    assert exclusions(rendering) == [
        ("k2", Reason.TEXT_TOO_LONG, "766 septets in 6 segments, 5 allowed")
    ]


def test_unicode_texts_keep_their_characters_and_count_in_units():
    rows = audience(a=["œuf 😀\u0000", "中" * 70, "中" * 71])
    rendering = rendered("{{ a }}", rows, unicode=True)

    assert texts(rendering) == ["œuf 😀", "中" * 70]
    assert exclusions(rendering) == [
        ("k2", Reason.TEXT_TOO_LONG, "71 UTF-16 units in 2 segments, 1 allowed")
    ]
    assert rendering.replaced == {"U+0000": 1}


def test_unicode_counts_neither_septets_nor_characters():
    rows = audience(a=["é" * 20 + "€" * 50, "é😀" * 23, "é😀" * 24, "é" + "€" * 70])
    rendering = rendered("中{{ a }}", rows, unicode=True)

    assert [len(text) for text in texts(rendering)] == [47]
    assert exclusions(rendering) == [
        ("k0", Reason.TEXT_TOO_LONG, "71 UTF-16 units in 2 segments, 1 allowed"),
        ("k2", Reason.TEXT_TOO_LONG, "73 UTF-16 units in 2 segments, 1 allowed"),
        ("k3", Reason.TEXT_TOO_LONG, "72 UTF-16 units in 2 segments, 1 allowed"),
    ]


def test_characters_without_replacement_follow_the_campaigns_policy():
    rows = audience(a=["Zoé", "中村"])

    assert texts(rendered("{{ a }}", rows)) == ["Zoé", "??"]
    excluded = rendered("{{ a }}", rows, unsupported="exclude")
    assert exclusions(excluded) == [("k1", Reason.UNSUPPORTED_CHARACTERS, "U+4E2D U+6751")]
    with pytest.raises(SourceError, match=r"1 text .*U\+4E2D") as raised:
        rendered("{{ a }}", rows, unsupported="refuse")
    assert "中" not in str(raised.value)


def test_unsendable_words_of_a_text_are_reported_with_line():
    with pytest.raises(BadCampaign, match=r"line 3: .*U\+4E2D"):
        rendered("a {{ a }}\nb\n中", audience(a=["x"]), unsupported="exclude")
    with pytest.raises(BadCampaign, match=r"line 2: .*semicolon"):
        rendered("\nLundi ; mardi", audience(a=["x"]), delimiter_in_text="refuse")
    with pytest.raises(BadCampaign, match=r"line 1: .*line break"):
        rendered("Lundi\nmardi", audience(a=["x"]), delimiter_in_text="refuse")


def test_delimiters_are_replaced_before_lengths_are_judged_and_counted():
    rows = audience(a=['Dit "oui" ; là\r\n« fin »'])
    rendering = rendered("{{ a }}", rows, delimiter_in_text="replace")

    assert texts(rendering) == ["Dit 'oui' , là  ' fin '"]
    assert rendering.replaced == Counter(
        {"U+0022": 4, "U+003B": 1, "U+000D": 1, "U+000A": 1, "U+00AB": 1, "U+00BB": 1}
    )


def test_a_delimiter_excludes_its_row_where_refused():
    rendering = rendered("{{ a }}", audience(a=["a;b", "ab"]), delimiter_in_text="refuse")

    assert texts(rendering) == ["ab"]
    assert rendering.reasons == {Reason.DELIMITER_IN_TEXT: 1}


def test_replacements_are_counted_in_messages_alone():
    rows = audience(a=["ça", "ça", "ç" * 200, "ça 中"], b=["x", "x", "x", "x"])
    rendering = rendered("ç {{ a }} {{ b }}", rows, unsupported="exclude")

    assert rendering.messages.num_rows == 2
    assert rendering.replaced == {"U+00E7": 4}


def test_mojibake_is_reported_but_sent():
    rendering = rendered("{{ a }}", audience(a=["François", "FranÃ§ois", "Ana"]))

    assert rendering.messages.num_rows == 3
    assert rendering.suspects["mojibake"].tolist() == [2]


def test_a_placeholder_in_a_value_is_reported_but_sent():
    values = ["{{first_name}}", "Zoé", "[Prénom]", "*|FNAME|*", "%%name%%", "50%", "[1]", "<3 | {}"]
    values += ["${nom}", "<<Nom>>", "[[name]]", "{first_name}", "{% if x %}", "-20 % {a}"]
    rendering = rendered("Bonjour {{ name }}", audience(name=values))

    assert rendering.suspects["placeholder"].tolist() == [1, 3, 4, 5, 9, 10, 11, 12, 13]
    assert rendering.messages.num_rows == len(values)


def test_a_dummy_value_is_reported_but_sent():
    values = ["-", "Zoé", "Inconnu", "(vide)", "Ne pas contacter", "Décédé", "9999-12-31", "Testa"]
    values += ["N.C.", "Jean-Luc", "...", "31/12/9999 00:00", "Aucun souci", "2027-12-31", "Nc"]
    rendering = rendered("Bonjour {{ name }} - ok", audience(name=values))

    assert rendering.suspects["stopgap"].tolist() == [1, 3, 4, 5, 6, 7, 9, 11, 12, 15]
    assert rendering.messages.num_rows == len(values)


def test_an_html_entity_is_reported_but_sent():
    values = ["Zoé", "O&#039;Neil", "R&D; rien", "Caf&eacute;", "A & B", "L&#xE9;a"]
    rendering = rendered("Bonjour {{ name }}", audience(name=values))

    assert rendering.suspects["html_entity"].tolist() == [2, 4, 6]
    assert rendering.messages.num_rows == 6


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("Bonjour {first_name}", {"{first_name}"}),
        ("Bonjour\n[Prénom client], ok", {"[Prénom client]"}),
        ("Bonjour %NAME%, -10% et %PROMO%", {"%NAME%", "%PROMO%"}),
        ("Bonjour *|FNAME|* ${name} <<name>> <name> #name#", None),
        ("Caf&eacute; pour tous", {"&eacute;"}),
        ("Bonjour {{ name }} : -10 %, [5] #1 <3 a&b * 2", set()),
        ("{% if name %}{first_name}{% endif %}", {"{first_name}"}),
    ],
)
def test_a_placeholder_of_another_tool_is_noted(text, notes):
    found = Template(text).notes

    if notes is None:
        assert len(found) == 5
    else:
        assert {note.problem.split(" is sent")[0] for note in found} == notes
    assert all(
        text.split("\n")[note.line - 1].count(note.problem.split(" is")[0]) for note in found
    )


def test_an_empty_batch_is_an_empty_rendering():
    for text in ("{{ a }}", "{{ a|upper }}", "words"):
        rendering = rendered(text, audience(a=[]), stop_mention="STOP 36105")

        assert rendering.messages.num_rows == rendering.excluded.num_rows == 0


def test_an_idremote_never_changes():
    keys = pa.array(["k0", "Zoé", ""], pa.large_string())

    assert idremote("spring1", keys).to_pylist() == [
        "d5144a3d61a3feb677926eaed31e55a3",
        "32c0b5f0c689ff59456fa3efffa8c4ab",
        "f84d040fbb26aa14c20d8ac69833c4f5",
    ]


@FEW
@given(st.lists(VALUE, unique=True, max_size=50), st.text(max_size=5), st.text(max_size=5))
def test_an_idremote_depends_only_on_run_and_key(keys, one, other):
    column = pa.array(keys, pa.large_string())
    made = idremote(one, column).to_pylist()

    assert len(set(made)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)
    assert idremote(one, column.slice(1)).to_pylist() == made[1:]
    assert one == other or not set(made) & set(idremote(other, column).to_pylist())


# Greek capitals are GSM's, and in no Latin encoding.
@pytest.mark.parametrize("policy", ["replace", "exclude"])
@pytest.mark.parametrize("encoding", ["iso-8859-1", "iso-8859-15", "windows-1252"])
def test_a_character_outside_the_encoding_excludes_its_row(policy, encoding):
    rows = audience(name=["Zoé", "Λ", "Ana", "Ζωή"])

    rendering = rendered("Bonjour {{ name }}", rows, encoding=encoding, unsupported=policy)

    assert texts(rendering) == ["Bonjour Zoé", "Bonjour Ana"]
    assert exclusions(rendering) == [
        ("k1", "unsupported_characters", "U+039B"),
        ("k3", "unsupported_characters", "U+03A9"),
    ]
    assert rendering.block(Dialect(encoding)).rows == 2


def test_utf_8_accepts_every_character():
    assert texts(rendered("Bonjour {{ name }}", audience(name=["Λ"]))) == ["Bonjour Λ"]


def test_the_refuse_policy_refuses_the_run():
    with pytest.raises(
        SourceError, match=r"1 text of .* has characters .* encoding iso-8859-1 lacks \(U\+20AC\)"
    ):
        rendered("{{ name }}", audience(name=["5 €", "x"]), **LATIN, unsupported="refuse")


LATIN = {"encoding": "iso-8859-1"}


@pytest.mark.parametrize(
    ("text", "line", "mention"), [("a\n5 €", 2, "STOP 36180"), ("a", None, "Σ STOP 36180")]
)
def test_constant_text_must_fit_the_encoding(text, line, mention):
    with pytest.raises(BadCampaign, match="which the gateway's encoding iso-8859-1 lacks") as told:
        rendered(text, audience(name=["x"]), **LATIN, stop_mention=mention)

    assert told.value.line == line


@FEW
@given(
    st.lists(VALUE, min_size=1, max_size=8),
    st.sampled_from(["iso-8859-1", "windows-1252"]),
    st.booleans(),
)
def test_every_kept_text_can_be_encoded(values, encoding, unicode):
    rendering = rendered("x {{ v }}", audience(v=values), encoding=encoding, unicode=unicode)

    block = rendering.block(Dialect(encoding))
    assert block.rows + rendering.excluded.num_rows == len(values)


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ("{{ v }}½ l", ["2", "x", ""], ["2 1/2 l", "x1/2 l", "1/2 l"]),
        ("{{ v }}² m", ["10", "m"], ["10^2 m", "m2 m"]),
        ("{{ v }}5 €", ["½", "m²", "a"], ["1/2 5 €", "m2 5 €", "a5 €"]),
        ("1{{ v }}", ["½", "²", "5"], ["1 1/2", "1^2", "15"]),
    ],
)
def test_a_numeral_is_separated_from_neighbouring_digits(text, values, shown):
    assert texts(rendered(text, audience(v=values))) == shown
