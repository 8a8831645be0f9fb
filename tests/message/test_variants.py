"""The draw of variants and control group, which never changes for a number."""

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms.audience.screening import Reason, Screener
from sms.campaign.template import Template
from sms.columnar.digests import scattered
from sms.message.rendering import MESSAGES_SCHEMA, VARIANT, Renderer
from sms.message.samples import FirstOfEach
from sms.message.variants import (
    Assignment,
    ControlGroup,
    Texts,
    VariantRenderer,
    named,
)
from sms.run.rendered import Sizes
from sms.wire.send_file import Dialect

WORD = 2**64 - 1
FIRST = 33639980000
MANY = np.arange(FIRST, FIRST + 400_000)
FEW = settings(max_examples=40)
NUMBERS = st.lists(st.integers(0, 2**63 - 1), max_size=20)
CAMPAIGNS = st.text(st.sampled_from("abc_1"), min_size=1, max_size=8)
SHARES = st.integers(0, 10**6 - 1).map(lambda millionths: Fraction(millionths, 10**6))


def halves(campaign: str = "spring") -> Assignment:
    return Assignment(campaign, {"warm": Fraction(1, 2), "short": Fraction(1, 2)})


def by_name(assignment: Assignment, numbers: np.ndarray) -> np.ndarray:
    return np.array(assignment.names)[assignment.of(numbers)]


def lot(number: int, seed: str) -> int:
    """The word of one number, in plain integers."""

    def mixed(word: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            word = (word ^ word >> 33) * factor & WORD
        return word ^ word >> 33

    of = hashlib.sha256(seed.encode()).digest()
    first, second = (int.from_bytes(of[at : at + 8], "little") for at in (0, 8))
    return mixed(mixed(number ^ first) ^ second)


def surprise(counts: np.ndarray, expected: np.ndarray) -> float:
    """How far counts lie from what is expected, in the standard deviations of chi-square."""
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = counts.size - 1
    return float(abs(chi_square - degrees) / np.sqrt(2 * degrees))


# Who is drawn otherwise tomorrow reads another text than yesterday.
HELD_OUT = [2, 9, 13, 15, 21, 30, 38, 40, 45, 47, 54]
DRAWN = "aacabccbbbaacabbaabbababacacbacaabbaaabbcabcbbaaabaaccaaaaca"


def test_the_draws_never_change():
    weights = {"b": Fraction(3, 10), "a": Fraction(1, 2), "c": Fraction(1, 5)}

    assert np.flatnonzero(ControlGroup("spring", Fraction(1, 10))(MANY[:60])).tolist() == HELD_OUT
    assert "".join(by_name(Assignment("spring", weights), MANY[:60])) == DRAWN


@FEW
@given(NUMBERS, st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
def test_draws_match_plain_integer_arithmetic(numbers, seed):
    drawn = scattered(np.array(numbers, np.int64), seed)

    assert drawn.tolist() == [lot(number, seed) for number in numbers]


@FEW
@given(NUMBERS, CAMPAIGNS, SHARES, st.randoms())
def test_a_recipients_draw_is_independent_of_order_and_others(numbers, campaign, share, random):
    shuffled = [*numbers]
    random.shuffle(shuffled)

    for draw in (ControlGroup(campaign, share), halves(campaign).of):
        alone = {number: draw(np.array([number]))[0] for number in numbers}
        assert draw(np.array(numbers, np.int64)).tolist() == [alone[each] for each in numbers]
        assert draw(np.array(shuffled, np.int64)).tolist() == [alone[each] for each in shuffled]


@pytest.mark.parametrize("campaign", ["spring", "spring_sale", "a"])
def test_consecutive_numbers_are_spread_evenly(campaign):
    """Over a hundred equal stretches, of all numbers, and of numbers a thousand apart."""
    equal = Assignment(campaign, {f"{n:02}": Fraction(1, 100) for n in range(100)})

    for numbers in (MANY, MANY[::2], np.arange(FIRST, FIRST + 4 * 10**8, 1000), MANY << 8):
        counts = np.bincount(equal.of(numbers), minlength=100)
        assert surprise(counts, np.full(100, len(numbers) / 100)) < 4


def test_shares_are_respected():
    weights = {"a": Fraction(1, 10), "b": Fraction(2, 10), "c": Fraction(7, 10)}
    counts = np.bincount(Assignment("spring", weights).of(MANY))

    assert surprise(counts, len(MANY) * np.array([0.1, 0.2, 0.7])) < 4
    held = np.count_nonzero(ControlGroup("spring", Fraction(1, 20))(MANY))
    assert surprise(np.array([held, len(MANY) - held]), len(MANY) * np.array([0.05, 0.95])) < 4


def test_control_group_variants_and_campaigns_are_independent_draws():
    draws = [
        draw(MANY).astype(np.int64)
        for campaign in ("spring", "spring_2", "autumn")
        for draw in (ControlGroup(campaign, Fraction(1, 2)), halves(campaign).of)
    ]

    for place, one in enumerate(draws):
        for other in draws[place + 1 :]:
            counts = np.bincount(2 * one + other, minlength=4)
            assert surprise(counts, np.full(4, len(MANY) / 4)) < 4


@FEW
@given(CAMPAIGNS, SHARES, SHARES)
def test_a_larger_control_group_keeps_its_members(campaign, one, other):
    small, large = (ControlGroup(campaign, share)(MANY[:5000]) for share in sorted((one, other)))

    assert not (small & ~large).any()


@FEW
@given(CAMPAIGNS, SHARES, SHARES)
def test_a_changed_weight_moves_only_the_difference(campaign, one, other):
    before, after = (
        by_name(Assignment(campaign, {"a": share, "b": 1 - share}), MANY[:5000])
        for share in sorted((one, other))
    )

    assert set(zip(before, after, strict=True)) <= {("a", "a"), ("b", "a"), ("b", "b")}


def test_the_order_of_variants_changes_no_draw():
    weights = {"a": Fraction(1, 5), "b": Fraction(3, 5), "c": Fraction(1, 5)}
    turned = dict(reversed(weights.items()))

    assert (
        by_name(Assignment("x", weights), MANY[:5000])
        == by_name(Assignment("x", turned), MANY[:5000])
    ).all()


def test_empty_audiences_and_zero_shares_are_possible():
    assert halves().of(MANY[:0]).tolist() == []
    assert ControlGroup("spring", Fraction(1, 2))(MANY[:0]).tolist() == []
    assert not ControlGroup("spring", Fraction(0))(MANY).any()


# --- Screening ----------------------------------------------------------------------------------


def candidates(numbers: list[int], names: list[str | None] | None = None) -> pa.RecordBatch:
    texts = {
        "key": [f"k{number}" for number in numbers],
        "msisdn": [f"+{number}" for number in numbers],
        "name": names or ["Zoé"] * len(numbers),
    }
    return pa.RecordBatch.from_pydict(
        {name: pa.array(values, pa.large_string()) for name, values in texts.items()}
    )


def reasons(batch: pa.RecordBatch, stopped: list[int], limit: int | None = None) -> list[str]:
    """For each row its reason, or "" if it is written to."""
    control_group = ControlGroup("spring", Fraction(1, 2))
    survey = Screener(columns=["name"], control_group=control_group).survey(
        [batch], lambda numbers: numbers[np.isin(numbers, stopped)], limit
    )
    [split] = survey.split([batch])
    told = dict(
        zip(split.excluded["row"].to_pylist(), split.excluded["reason"].to_pylist(), strict=True)
    )
    assert survey.candidates == survey.audience + survey.reasons.total()
    return [told.get(row, "") for row in range(1, survey.candidates + 1)]


def test_the_control_group_excludes_only_possible_recipients():
    held = MANY[ControlGroup("spring", Fraction(1, 2))(MANY)][:4].tolist()
    batch = candidates([*held, held[3]], ["Zoé", None, "Zoé", "Zoé", "Zoé"])

    assert reasons(batch, stopped=[held[0]]) == [
        Reason.OPTED_OUT,
        Reason.MISSING_VALUE,
        Reason.CONTROL_GROUP,
        Reason.CONTROL_GROUP,
        Reason.DUPLICATE_MSISDN,
    ]


def test_a_limited_dry_run_counts_all_rows():
    people = MANY[:200].tolist()
    held = ControlGroup("spring", Fraction(1, 2))(MANY[:50])

    told = reasons(candidates(people), [], limit=50)

    assert told == ["control_group" if each else "" for each in held]


# --- Rendering ----------------------------------------------------------------------------------

TEXTS = {"warm": "Bonjour {{ name }}; à samedi ç", "short": "{{ name }} {{ city }}", "bare": "A"}
NAMES = st.sampled_from(["Zoé", "Ana;", "ç", 'é"', "x" * 150, "Ã©", "李", None])


def renderers() -> dict[str, Renderer]:
    return {
        name: Renderer(
            template=Template(text), sender="A", campaign_id="s1", stop_mention="STOP 36180"
        )
        for name, text in TEXTS.items()
    }


def variant_renderer() -> VariantRenderer:
    thirds = {name: Fraction(1, 3) for name in TEXTS}
    return VariantRenderer(Assignment("spring", thirds), renderers())


def audience(names: list[str | None], first: int = 0) -> pa.RecordBatch:
    rows = range(first, first + len(names))
    return pa.RecordBatch.from_pydict(
        {
            "row": pa.array([row + 1 for row in rows], pa.int64()),
            "key": pa.array([f"k{row}" for row in rows], pa.large_string()),
            "msisdn": pa.array([FIRST + row for row in rows], pa.int64()),
            "country": pa.array(["FR"] * len(names), pa.large_string()),
            "name": pa.array(names, pa.large_string()),
            "city": pa.array(["Lyon"] * len(names), pa.large_string()),
        }
    )


@FEW
@given(st.lists(NAMES, max_size=30))
@example([None] * 30)
def test_rendering_by_variant_matches_each_variant_rendered_alone(names):
    rows = audience(names)
    alone = {name: each.render(rows) for name, each in renderers().items()}
    whose = by_name(variant_renderer().assignment, rows["msisdn"].to_numpy())

    made = variant_renderer().render(rows)

    messages, excluded = [], []
    for at, name in enumerate(whose):
        this = alone[name]
        messages += [
            {**row, "variant": name} for row in this.messages.to_pylist() if row["key"] == f"k{at}"
        ]
        excluded += [row for row in this.excluded.to_pylist() if row["row"] == at + 1]
    assert made.messages.to_pylist() == messages
    assert made.messages.schema == MESSAGES_SCHEMA.append(VARIANT)
    assert made.excluded.to_pylist() == excluded
    assert made.excluded.schema == alone["warm"].excluded.schema
    assert made.suspects["mojibake"].tolist() == [
        at + 1 for at, name in enumerate(whose) if at + 1 in alone[name].suspects["mojibake"]
    ]
    assert made.messages.num_rows + made.excluded.num_rows == len(names)


@FEW
@given(st.lists(NAMES, min_size=1, max_size=30), st.data())
def test_batches_of_any_size_give_the_same_bytes(names, chosen):
    cut = chosen.draw(st.integers(0, len(names)))
    rows = audience(names)
    dialect = Dialect()

    parts = [variant_renderer().render(each) for each in (rows.slice(0, cut), rows.slice(cut))]

    whole = variant_renderer().render(rows)
    assert b"".join(bytes(each.block(dialect).data) for each in parts) == bytes(
        whole.block(dialect).data
    )
    assert sum((each.replaced for each in parts), type(whole.replaced)()) == whole.replaced


def test_replaced_characters_are_counted_over_all_variants():
    names = ["ç"] * 300

    made = variant_renderer().render(audience(names))

    whose = by_name(variant_renderer().assignment, MANY[:300]).tolist()
    assert made.replaced["U+00E7"] == 2 * whose.count("warm") + whose.count("short")


def test_without_variants_a_message_has_no_column_for_one():
    made = renderers()["bare"].render(audience(["Zoé"]))

    assert named(made, "").messages.schema == MESSAGES_SCHEMA
    assert named(made, "bare").messages["variant"].to_pylist() == ["bare"]


def test_every_column_of_any_text_is_requested_once():
    compiled = {name: Template(text, f"/folder/{name}.txt") for name, text in TEXTS.items()}
    compiled["loud"] = Template("\n{{ city|upper }} {{ age }}", "/folder/loud.txt")

    texts = Texts(compiled)

    assert texts.columns == ("name", "city", "age")
    assert texts.needed == ("name", "city", "age")
    assert texts.path == "/folder/warm.txt or short.txt or bare.txt or loud.txt"
    assert texts.slow_because
    assert texts.slow_because.startswith("loud.txt, line 2: `upper`")
    assert Texts({"warm": compiled["warm"]}).slow_because is None


def test_the_first_messages_per_variant_span_several_batches():
    first = FirstOfEach(3, TEXTS)
    made = variant_renderer()
    fed = 0
    while not first.complete:
        first.look_at(made.render(audience(["Zoé"] * 2, first=fed)).messages)
        fed += 2

    found = [row for batch in first.found for row in batch.to_pylist()]
    assert [row["variant"] for row in found] == ["warm"] * 3 + ["short"] * 3 + ["bare"] * 3
    for name in TEXTS:
        whose = by_name(made.assignment, MANY[:fed]).tolist()
        expected = [f"k{at}" for at, each in enumerate(whose) if each == name][:3]
        assert [row["key"] for row in found if row["variant"] == name] == expected


def test_messages_are_counted_by_country_variant_and_segments():
    rows = audience(["Zoé", "Zoé", "x" * 160, "Zoé"])
    rows = rows.set_column(
        rows.schema.get_field_index("country"),
        "country",
        pa.array(["FR", "BE", "FR", "FR"], pa.large_string()),
    )
    long = {name: replace(each, long_sms=True) for name, each in renderers().items()}

    made = VariantRenderer(Assignment("spring", {"warm": Fraction(1)}), long).render(rows)

    assert made.groups == {("FR", "warm", 1): 2, ("BE", "warm", 1): 1, ("FR", "warm", 2): 1}
    assert made.messages["country"].to_pylist() == ["FR", "BE", "FR", "FR"]
    sizes = Sizes(made.groups)
    assert (sizes.messages, sizes.sms) == (4, 5)
    assert sizes.by_size == {1: 3, 2: 1}
    assert sizes.by_country == {"BE": 1, "FR": 4}


def test_an_empty_audience_counts_zero():
    sizes = Sizes({})

    assert (sizes.messages, sizes.sms, sizes.by_size, sizes.by_country) == (0, 0, {}, {})
