"""Probable mistakes in a text are noted with their line."""

import pytest

from sms.campaign.stop_mentions import doubled
from sms.campaign.template import Template
from tests.campaign_folder import write_campaign
from tests.command_line import sms

SUSPECT = {
    "Bonjour $first_name": "$first_name",
    "Bonjour $prenom,": "$prenom",
    "Bonjour «first_name»": "«first_name»",
    "Bonjour @first_name !": "@first_name",
    "Bonjour first_name }} !": "}}",
    "Bonjour %} !": "%}",
    "Bonjour #} !": "#}",
    "Bonjour first_name.": "first_name",
    "Bonjour :prénom_client": "prénom_client",
    "Bonjour {{ 'first_name' }}": "first_name",
    **{
        f"Bonjour {sign} !": sign
        for sign in (
            *("{0}", "%s", "%(name)s", "<%= name %>", "[% name %]", "@@name@@", "@name@"),
            *("__name__", "{!Contact.Name}", "$(name)", "|name|", "~name~"),
        )
    },
    'Bonjour {{ "Ana" if vip else "first_name" }}': "first_name",
}
PLAIN = [
    *("Code PROMO_10 : 20%", "10 $US, 5 $ de remise", "https://x.fr/a_b?utm_source=sms_mars"),
    *("x.fr/promo-ete_2026.html", "mon_mail@x.fr", "www.mon_site.fr", "# 1", "100%", "50 % }"),
    *("{{ 'oui' if vip else 'non' }}", "{{ day | date('d_MMM') }}", "«Soldes»", "#soldes @insta"),
    *("10 %soit 5", "a@x.fr, b@x.fr", "{12 euros}", "(nom) ~10 min~", "8h|12h|14h", "100%sûr"),
]


@pytest.mark.parametrize(("text", "sign"), SUSPECT.items())
def test_a_likely_placeholder_outside_braces_is_noted(text, sign):
    told = [note.problem for note in Template(f"Soldes\n{text}").notes]

    assert any(problem.startswith(f"{sign} is sent as it is") for problem in told)
    assert {note.line for note in Template(f"Soldes\n{text}").notes} == {2}


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_words_links_and_codes_are_not_noted(text):
    assert Template(text).notes == ()


@pytest.mark.parametrize(
    "said", ["STOP 36181", "STOP au 36180", "stop 36180", "STOP SMS 36180", "STOP36180"]
)
def test_another_stop_mention_in_the_text_is_noted(tmp_path, said):
    [note] = doubled(Template(f"Soldes\n{said}"), "STOP 36180")

    assert note.line == 2
    assert f"{said!r} is not the stop_mention" in note.problem

    yaml = 'kind: marketing\nsender: LUMIERE\nstop_mention: "STOP 36180"\n'
    write_campaign(tmp_path / "spring", yaml, "SELECT 1", f"Soldes\n{said}")
    checked = sms("check", tmp_path / "spring")
    told = " ".join(checked.stderr.split())
    assert f"message.txt, line 2: {said!r} is not the stop_mention" in told


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("STOP 36180", "STOP 36180"),
        ("STOP\u00a036180 Promo", "STOP 36180"),
        ("Stop au 36180.", "Stop au 36180."),
        ("Nous ouvrons non-stop 24h/24", "STOP 36180"),
        ("STOP 36181", None),
    ],
)
def test_the_stop_mention_itself_is_not_noted(text, mention):
    assert [*doubled(Template(text), mention)] == []
