"""A proof leaves first, to phones of ours alone; the others wait for a person's yes."""

from datetime import timedelta

import pytest

from sms.delivery import settlement
from sms.errors import LedgerError, NotApproved
from sms.ledger.states import State
from sms_airflow import wiring
from sms_sandbox import Sandbox
from tests.delivery.conftest import SANDBOX_ONLY, Desk, numbers, sent_to
from tests.delivery.proofs import OURS, proved, submit_proof
from tests.delivery.submitting import opt_out

pytestmark = SANDBOX_ONLY


def test_a_proof_is_the_real_text_on_our_phones_and_nobody_elses(
    desk: Desk, gateway: Sandbox
) -> None:
    [prepared] = desk.prepare(numbers(3), more=OURS)

    [stem] = proved(desk)
    assert submit_proof(desk, stem) is State.SUBMITTED
    gateway.settle()

    assert sent_to(gateway) == ["+33639989901", "+33639989902"]
    texts = [entry["text"] for entry in gateway.journal("sent")]
    assert sorted(texts) == [f"Bonjour Léa {at}, à samedi ! STOP 36180" for at in range(2)]
    assert desk.ledger.submissions.get(prepared.stem).state is State.PREPARED
    with pytest.raises(NotApproved):
        desk.submit(prepared.stem)
    assert desk.ledger.runs.latest_sent("tests", but="another") == {}  # it says nothing of growth


def test_one_recipient_is_proof_enough_for_several_phones(desk: Desk) -> None:
    desk.prepare(numbers(1), more=OURS)

    [stem] = proved(desk)

    assert desk.ledger.submissions.get(stem).messages == 2


def test_a_proof_is_sent_once_for_the_same_bytes_and_again_for_others(
    desk: Desk, gateway: Sandbox
) -> None:
    desk.prepare(numbers(3), more=OURS)
    [first] = proved(desk)
    assert proved(desk) == [first]
    submit_proof(desk, first)
    assert proved(desk) == [first]

    desk.text = "Bonsoir {{ name }} !"
    desk.prepare(numbers(3), more=OURS)
    [second] = proved(desk)

    assert second != first
    assert desk.ledger.submissions.get(first).state is State.SUBMITTED


def test_a_proof_of_bytes_that_are_no_more_never_leaves(desk: Desk) -> None:
    desk.prepare(numbers(3), more=OURS)
    [first] = proved(desk)

    desk.prepare(numbers(2), more=OURS)
    proved(desk)

    assert desk.ledger.submissions.get(first).state is State.CANCELLED


def test_a_tester_who_said_stop_gets_none(desk: Desk, gateway: Sandbox) -> None:
    desk.prepare(numbers(3), more=OURS)
    opt_out(desk.ledger, 33639989902)

    submit_proof(desk, *proved(desk))
    gateway.settle()

    assert sent_to(gateway) == ["+33639989901"]


def test_a_dry_run_and_a_campaign_without_testers_prove_nothing(desk: Desk) -> None:
    desk.prepare(numbers(2))
    assert proved(desk) == []
    desk.prepare(numbers(2), run="dry", more=OURS, dry_run=True)
    assert proved(desk, "dry") == []


def test_whoever_settles_a_proof_never_sends_the_campaign_again(
    desk: Desk, gateway: Sandbox
) -> None:
    desk.prepare(numbers(3), more=OURS)
    [stem] = proved(desk)
    desk.ledger.submissions.claim(stem, "a try", lease=timedelta(minutes=1))
    assert desk.ledger.submissions.move(stem, to=State.UNKNOWN)

    with wiring.gateway() as session:
        told = settlement.settle(stem, session, desk.ledger, arrived=False)

    assert "clear the task prepare_proof" in told
    assert not settlement.is_alone(stem, desk.ledger)
    [again] = proved(desk)
    assert again != stem


def test_a_number_that_is_none_is_told(desk: Desk) -> None:
    with pytest.raises(Exception, match=r"campaign.yaml, line 5: proof_to"):
        desk.plan(more="proof_to: [0639980001]\n")
    with pytest.raises(LedgerError, match="has no run"):
        desk.ledger.runs.get("one")


def test_every_variant_is_proved_on_every_phone(desk: Desk, gateway: Sandbox) -> None:
    home = desk.folder / "campaigns" / "tests"
    home.mkdir(parents=True)
    desk.text = "warm: {{ name }}"
    (home / "short.txt").write_text("short: {{ name }}")
    variants = "variants: {w: {text: message.txt}, s: {text: short.txt}}\n"
    desk.prepare(numbers(3), more=OURS + variants)

    stems = proved(desk)
    for stem in stems:
        submit_proof(desk, stem)
        desk.accepted(stem)
    gateway.settle()

    assert len(stems) == 2
    heard = {(entry["msisdn"], entry["text"].split(":")[0]) for entry in gateway.journal("sent")}
    phones = ("+33639989901", "+33639989902")
    assert heard == {(phone, name) for phone in phones for name in ("warm", "short")}


BY_NAME = "{% if name == 'Léa 4' %}Cher client{% else %}Bonjour{% endif %} {{ name }}"


def test_a_proof_shows_each_way_through_a_text(desk: Desk, gateway: Sandbox) -> None:
    desk.text = BY_NAME
    desk.prepare(numbers(6), more=OURS)

    [stem] = proved(desk)
    submit_proof(desk, stem)
    gateway.settle()

    texts = [entry["text"] for entry in gateway.journal("sent")]
    assert sorted(texts) == ["Bonjour Léa 0 STOP 36180", "Cher client Léa 4 STOP 36180"]


def test_a_review_shows_each_way_through_a_text_and_what_nobody_meets(desk: Desk) -> None:
    desk.text = BY_NAME.replace("Léa 4", "Léa 40") + "{% if name == 'lea' %}!{% endif %}"
    desk.prepare(numbers(50))

    review = desk.run_folder("one").read_review()

    assert "Cher client Léa 40" in review
    assert "message.txt, line 1: its condition is true in no message" in review
