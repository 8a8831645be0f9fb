"""A campaign's text is rendered as Jinja does, within bounds of time and memory."""

import time

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sms.campaign.bounded_jinja import BoundedEnvironment
from sms.campaign.template import Logic, Placeholder, Template, faults
from sms.errors import BadCampaign

NESTED = "{% set a = ['abcdefgh'] %}" + 60 * "{% set a = ? %}"
DOUBLED = "{% set a = 'abcdefgh' %}" + 24 * "{% set a = ? %}" + "{{ a | length }}"

TOO_MUCH = [
    "{{ 'a' * 900000000 }}",
    "{{ 900000000 * 'a' }}",
    "{{ [1] * 900000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ ['a'] | map('center', 900000000) | list }}",
    "{{ 'a' | center(900000000) }}",
    "{{ 'a' | indent(900000000, true) }}",
    "{{ [1] | batch(900000000, 1) | list }}",
    "{{ [1] | slice(900000000) | list }}",
    "{{ 1.5 ** 900000 }}",
    "{% for i in range(9999) %}{% if range(9999) | sum == 1 %}{% endif %}{% endfor %}",
    "{{ (['1' * 90] * 9999) | map('replace', '1', 'b' * 9999) | list | length }}",
    "{% set a = [1] * 9999 %}{% set b = [a] * 999 %}{{ b | string | length }}",
    "{{ '%900000000d' | format(1) }}",
    "{{ ('%.900000000f' % 1) | length }}",
    "{{ ('%0900000000d' % 1) | length }}",
    "{{ ('%(a)900000000d' % {'a': 1}) | length }}",
    "{{ ('%*d' % (900000000, 1)) | length }}",
    "{{ '{:>900000000}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 900000000) }}",
    "{{ '{a:>{b}}'.format_map({'a': 1, 'b': 900000000}) }}",
    "{{ 'a'.ljust(900000000) }}",
    "{{ 'a'.zfill(900000000) }}",
    "{{ (1).to_bytes(900000000, 'big') }}",
    "{{ ('a' * 9999).replace('a', 'b' * 9999) }}",
    "{{ ('a' * 9999) | replace('a', 'b' * 9999) }}",
    "{{ range(900000000) | list }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    *(
        DOUBLED.replace("?", twice)
        for twice in ("a ~ a", "a + a", "[a, a] | join", "'%s%s' | format(a, a)", "a.join([a, a])")
    ),
    DOUBLED.replace(" = ? %}", " %}{{ a }}{{ a }}{% endset %}"),
    *(NESTED.replace("?", twice) for twice in ("[a, a]", "(a, a)", "{1: a, 2: a}", "[a] * 2")),
    NESTED.replace("?", "[a] + [a]") + "{{ a }}",
    "{% set a = ['x' * 9999] * 100 %}{% set b = a * 100 %}{{ b | join }}",
    "{{ ('a' * 9999).translate({97: 'b' * 9999}) }}",
    "{% set a = [[1] * 90] * 90 %}{% for i in range(9000) %}{% set b = [a] %}{% endfor %}",
    DOUBLED.replace("'abcdefgh'", "[1]").replace("?", "(a, a) | sum(start=[])"),
]

GOOD = [
    "{{ 'Code %05d, STOP 36180' | format(x | int) }}",
    "{{ '{:>8} STOP 36180'.format(x) }} {{ '%.2f' % 3.14159 }} {{ '%d%%' % 20 }}",
    "{{ x.replace('1', 'one') }} {{ x | replace('1', 'one') }} {{ x.ljust(9) }}|",
    "{{ 2 * 3 + 4 ** 2 % 7 }} {{ 'ab' * 3 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ 2 ** -1 }}",
    "{{ 'a' ~ 1 ~ x ~ none }} {{ x | default(99999) }} {{ y | default(99999) }}",
    "{{ 1234567 | round(2) }} {{ [1, 2, 3] | sum }} {{ x | center(11) }} {{ x | tojson }}",
    "{% for a in x %}{{ loop.index }}/{{ loop.length }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for a in x if a > '1' %}{{ a }}{% else %}none{% endfor %}{% for a in '' %}{% else %}none"
    "{% endfor %}",
    "{% for k, v in {'a': 1}.items() %}{{ k }}={{ v }}{% endfor %}{{ range(5) | join('-') }}",
    "{% for a in [[1], [2, [3]]] recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}",
    "{% macro m(a, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(x) }}"
    "{% macro n() %}<{{ caller() }}>{% endmacro %}{% call n() %}!{% endcall %}",
    "{% set y %}{{ x }}!{% endset %}{{ y }}{% filter upper %}{{ y }}b{% endfilter %}",
    "{% with z = x | upper %}{{ z }}{% endwith %}{% block b %}{{ x }}{% endblock %}",
]


@pytest.mark.parametrize("text", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_expensive_expressions_are_refused_at_once(text):
    assert faults(text) == ()
    began = time.process_time()

    with pytest.raises(BadCampaign, match="repeats, pads or counts more than an SMS needs"):
        [piece.of({}) for piece in Template(text).pieces if isinstance(piece, Logic)]

    assert time.process_time() - began < 20  # without bounds, minutes


@pytest.mark.parametrize("text", GOOD, ids=range(len(GOOD)))
def test_ordinary_expressions_give_the_same_as_plain_jinja(text):
    options = {"undefined": StrictUndefined, "autoescape": False}
    usual = ImmutableSandboxedEnvironment(**options)
    bounded = BoundedEnvironment(**options)
    bounded.begin()

    assert bounded.from_string(text).render(x="123") == usual.from_string(text).render(x="123")


def test_each_text_starts_with_all_its_steps():
    [logic] = Template("{% for a in range(9999) %}{{ x if loop.last }}{% endfor %}").pieces

    assert {logic.of({"x": "!"}).text for _ in range(12)} == {"!"}


def test_compiling_evaluates_nothing(monkeypatch):
    worked_out = []
    monkeypatch.setattr("sms.campaign.bounded_jinja._require", worked_out.append)

    for text in TOO_MUCH:
        assert faults(text) == ()
        Template(text)

    assert worked_out == []


ORDINARY = {
    '{{ {75001: "Paris", 69001: "Lyon"}.get(code | int, "France") }}': "Paris",
    "{{ [75001, 69001].count(code | int) }}": "1",
    "{% if order | int > 100000000000 %}yes{% endif %}": "yes",
    "{{ order | int - 100000000000 }}": "23456789012",
    '{{ "-20%% de 10000 articles, %s" | format(name) }}': "-20% de 10000 articles, Léa",
    '{{ "%s, réf. {%s: 12345}" | format(name, code) }}': "Léa, réf. {75001: 12345}",
    "{{ " + " + ".join(["name"] * 80) + " }}": "Léa" * 80,
    "{% if " + " or ".join(f"code == '{n}'" for n in range(74960, 75010)) + " %}x{% endif %}": "x",
    "{{ range }} {{ name }}": "fin Léa",
}


@pytest.mark.parametrize("text", ORDINARY, ids=range(len(ORDINARY)))
def test_ordinary_texts_are_rendered(text):
    row = {"code": "75001", "order": "123456789012", "name": "Léa", "range": "fin"}
    assert faults(text) == ()

    written = "".join(_written(piece, row) for piece in Template(text).pieces)

    assert written == ORDINARY[text]


def _written(piece, row):
    if isinstance(piece, Logic):
        return piece.of({name: row[name] for name in piece.columns}).text
    return row[piece.name] if isinstance(piece, Placeholder) else piece.text
