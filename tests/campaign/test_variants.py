"""Variants and a control group in a campaign's folder: read whole, or refused with the line."""

import pickle
from fractions import Fraction
from pathlib import Path

import pytest

from sms.campaign.definition import Campaign, load
from sms.errors import BadCampaign

YAML = """\
kind: transactional
sender: LUMIERE
"""
TWO = """\
variants:
  warm: {text: message_warm.txt, weight: 60%}
  short:
    text: message_short.txt
    weight: 40%
"""


def folder(root: Path, more: str = TWO, **texts: str | None) -> Path:
    """A campaign's folder with a text for each of two variants, or with other texts."""
    where = root / "sale"
    where.mkdir()
    (where / "campaign.yaml").write_text(YAML + more)
    (where / "recipients.sql").write_text("SELECT 1 AS key, '' AS msisdn\n")
    files = {"message_warm": "Bonjour {{ first_name }} !", "message_short": "Bonjour !"} | texts
    for name, text in files.items():
        if text is not None:
            (where / f"{name}.txt").write_text(text)
    return where


def refusal(where: Path) -> BadCampaign:
    with pytest.raises(BadCampaign) as caught:
        load(where)
    return caught.value


def read_again(campaign: Campaign) -> Campaign:
    return Campaign.model_validate_json(campaign.model_dump_json())


def test_each_variant_has_a_text_and_a_weight(tmp_path):
    campaign = load(folder(tmp_path, TWO + "control_group: 5%\n"))

    assert campaign.texts == {
        "warm": (tmp_path / "sale" / "message_warm.txt", "Bonjour {{ first_name }} !"),
        "short": (tmp_path / "sale" / "message_short.txt", "Bonjour !"),
    }
    assert campaign.weights == {"warm": Fraction(3, 5), "short": Fraction(2, 5)}
    assert campaign.control_share == Fraction(1, 20)
    assert pickle.loads(pickle.dumps(campaign)) == campaign


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((None, None, None), (Fraction(1, 3),) * 3),
        (("33.3333%", "33.3333%", "33.3334%"), (333_333, 333_333, 333_334)),
        (("0.0001%", "10%", "89.9999%"), (1, 100_000, 899_999)),
        (("10%", "20%", "70 %"), (100_000, 200_000, 700_000)),
    ],
)
def test_a_stored_plan_keeps_the_exact_weights(tmp_path, weights, shares):
    lines = [
        f"  {name}: {{text: {name}.txt{f', weight: {weight}' if weight else ''}}}"
        for name, weight in zip("abc", weights, strict=True)
    ]
    texts = dict.fromkeys("abc", "Bonjour")
    more = "\n".join(["variants:", *lines, "control_group: 0.0007%", ""])
    campaign = load(folder(tmp_path, more, message_warm=None, message_short=None, **texts))

    exact = [share if isinstance(share, Fraction) else Fraction(share, 10**6) for share in shares]
    assert list(campaign.weights.values()) == exact
    assert read_again(campaign) == campaign
    assert read_again(campaign).weights == campaign.weights
    assert read_again(campaign).control_share == Fraction(7, 10**6)


def test_a_control_group_needs_no_variants(tmp_path):
    campaign = load(folder(tmp_path, "control_group: 10%\n", message="Bonjour"))

    assert campaign.control_share == Fraction(1, 10)
    assert campaign.texts == {"": (tmp_path / "sale" / "message.txt", "Bonjour")}
    assert campaign.weights == {}


def test_message_txt_may_be_one_of_the_variants(tmp_path):
    more = TWO.replace("message_warm.txt", "message.txt")

    assert load(folder(tmp_path, more, message="Bonjour", message_warm=None)).weights


@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        ("control_group: 100%\n", 3, "control_group: with 100% there are no recipients"),
        ("control_group: 101%\n", 3, "control_group: with 101% there are no recipients"),
        (
            "control_group: 0.05\n",
            3,
            "control_group: 0.05 is no share: write a percentage, such as 50%",
        ),
        ("control_group: 5.00001%\n", 3, "four decimals at most"),
        ("control_group: -5%\n", 3, "'-5%' is no share"),
        ("variants:\n", 3, "variants: must name each variant and its text, such as `warm:"),
        ("variants: [a.txt, b.txt]\n", 3, "variants: must name each variant"),
        ("variants:\n  warm: {text: a.txt}\n", 3, "there are 1 of them: write 2 to 10"),
        (TWO.replace("40%", "30%"), 3, "the weights sum to 90%: change them to sum to 100%"),
        (TWO.replace("40%", "40.0001%"), 3, "the weights sum to 100.0001%"),
        (TWO.replace(", weight: 60%", ""), 3, "a weight for each of them, or for none"),
        (TWO.replace("_short.txt", "_warm.txt"), 3, "warm and short have one text, message_warm"),
        (TWO.replace("warm:", "Warm:"), 4, "variants.Warm: 'Warm' is no name for a variant"),
        (TWO.replace("warm:", f"{'a' * 33}:"), 4, "at most 32"),
        (TWO.replace("60%", "0.6"), 4, "variants.warm.weight: 0.6 is no share"),
        (TWO.replace("40%", "0%"), 7, "variants.short.weight: with 0% it has no recipients"),
        (TWO.replace("40%", "forty"), 7, "variants.short.weight: 'forty' is no share"),
        (TWO.replace("message_short", "../short"), 6, "variants.short.text: '../short.txt' is no"),
        (TWO.replace("message_short.txt", "recipients.sql"), 6, "a file's name that ends in .txt"),
        (TWO.replace("    text:", "    txt:"), 5, "variants.short.text: is missing: write the f"),
        (TWO.replace("    text:", "    txt:"), 6, "short.txt: is no known key, did you mean text?"),
        (TWO.replace("{text: message_warm.txt, weight: 60%}", "a.txt"), 4, "'a.txt' is no variant"),
    ],
)
def test_an_invalid_comparison_is_reported_with_file_and_line(tmp_path, more, line, said):
    where = folder(tmp_path, more, message=None if "variants" in more else "Bonjour")

    error = refusal(where)

    faults = str(error).split("; also ")
    assert any(f"campaign.yaml, line {line}: " in fault and said in fault for fault in faults)


def test_eleven_variants_are_too_many(tmp_path):
    lines = "".join(f"  v{n}: {{text: v{n}.txt}}\n" for n in range(11))

    assert "there are 11 of them: write 2 to 10" in str(
        refusal(folder(tmp_path, f"variants:\n{lines}"))
    )


@pytest.mark.parametrize(
    ("texts", "file", "line", "said"),
    [
        (
            {"message_short": None},
            "message_short",
            None,
            "missing: it is the text of the variant s",
        ),
        ({"message_short": " \n"}, "message_short", None, "is empty"),
        ({"message_warm": "Bonjour\n{{ name | shout }}"}, "message_warm", 2, "'shout'"),
        ({"message": "Bonjour"}, "message", None, "is not used beside variants"),
    ],
)
def test_a_variants_text_is_checked_like_any_text(tmp_path, texts, file, line, said):
    where = folder(tmp_path, **texts)

    error = refusal(where)

    assert (error.path, error.line) == (str(where / f"{file}.txt"), line)
    assert said in error.problem


def test_all_texts_are_checked_after_the_settings(tmp_path):
    texts = {"message_warm": "{{", "message_short": "{{", "message": "Bonjour"}

    told = str(refusal(folder(tmp_path, **texts)))

    assert told.startswith(f"{tmp_path / 'sale' / 'message_warm.txt'}, line 1: ")
    assert "; also message_short.txt, line 1: " in told
    assert "; also message.txt: is not used beside variants" in told


def test_wrong_settings_hide_no_fault_of_a_text(tmp_path):
    told = str(refusal(folder(tmp_path, TWO + "sendr: A\n", message_warm=None)))

    assert "sendr: is no known key" in told
    assert "message" not in told
