"""A proof is sent first, to our own phones; the other files wait for the approval."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from sms import clock
from sms.clock import PARIS
from sms.columnar import parquet
from sms.delivery import settlement
from sms.errors import LedgerError, NotApproved, SmsError
from sms.ledger.states import State
from sms.run import approval, stages
from sms.run import proof as proving
from sms.run import review as reviewed
from sms_airflow import wiring
from sms_airflow.operators import SubmitOperator
from sms_sandbox import Sandbox
from tests.proofs import OURS, proved, submit_proof
from tests.submitting import opt_out
from tests.world import SANDBOX_ONLY, World, numbers, sent_to

ONCE = "frequency_cap: 1 per 7 days\n"

pytestmark = SANDBOX_ONLY


def test_a_proof_sends_the_real_text_to_our_phones(world: World, gateway: Sandbox) -> None:
    [prepared] = world.prepare(numbers(3), more=OURS)

    [stem] = proved(world)
    assert submit_proof(world, stem) is State.SUBMITTED
    gateway.settle()

    assert sent_to(gateway) == ["+33639989901", "+33639989902"]
    texts = [entry["text"] for entry in gateway.journal("sent")]
    assert sorted(texts) == [f"Bonjour Léa {at}, à samedi ! STOP 36180" for at in range(2)]
    assert world.ledger.submissions.get(prepared.stem).state is State.PREPARED
    with pytest.raises(NotApproved):
        world.submit(prepared.stem)
    assert world.ledger.runs.latest_sent("tests", but="another") == {}  # it says nothing of growth


def test_one_recipient_is_proof_enough_for_several_phones(world: World) -> None:
    world.prepare(numbers(1), more=OURS)

    [stem] = proved(world)

    assert world.ledger.submissions.get(stem).messages == 2


def test_a_proof_is_sent_once_for_the_same_bytes(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=OURS)
    [first] = proved(world)
    assert proved(world) == [first]
    submit_proof(world, first)
    assert proved(world) == [first]

    world.text = "Bonsoir {{ name }} !"
    world.prepare(numbers(3), more=OURS)
    [second] = proved(world)

    assert second != first
    assert world.ledger.submissions.get(first).state is State.SUBMITTED


def test_a_proof_of_outdated_bytes_is_never_sent(world: World) -> None:
    world.prepare(numbers(3), more=OURS)
    [first] = proved(world)

    world.prepare(numbers(2), more=OURS)
    proved(world)

    assert world.ledger.submissions.get(first).state is State.CANCELLED


def test_an_opted_out_tester_gets_no_proof(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=OURS)
    opt_out(world.ledger, 33639989902)

    submit_proof(world, *proved(world))
    gateway.settle()

    assert sent_to(gateway) == ["+33639989901"]


def test_dry_runs_and_campaigns_without_testers_send_no_proof(world: World) -> None:
    world.prepare(numbers(2))
    assert proved(world) == []
    world.prepare(numbers(2), run="dry", more=OURS, dry_run=True)
    assert proved(world, "dry") == []


def test_settling_a_proof_never_resends_the_campaign(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=OURS)
    [stem] = proved(world)
    world.ledger.submissions.claim(stem, "a try", lease=timedelta(minutes=1))
    assert world.ledger.submissions.move(stem, to=State.UNKNOWN)

    with wiring.gateway() as session:
        told = settlement.settle(stem, session, world.ledger, arrived=False)

    assert "clear the task prepare_proof" in told
    assert not settlement.is_alone(stem, world.ledger)
    [again] = proved(world)
    assert again != stem


def test_an_invalid_number_is_reported(world: World) -> None:
    with pytest.raises(Exception, match=r"campaign.yaml, line 5: proof_to"):
        world.plan(more="proof_to: [0639980001]\n")
    with pytest.raises(LedgerError, match="has no run"):
        world.ledger.runs.get("one")


def test_every_phone_gets_a_proof_of_every_variant(world: World, gateway: Sandbox) -> None:
    home = world.folder / "campaigns" / "tests"
    home.mkdir(parents=True)
    world.text = "warm: {{ name }}"
    (home / "short.txt").write_text("short: {{ name }}")
    variants = "variants: {w: {text: message.txt}, s: {text: short.txt}}\n"
    world.prepare(numbers(3), more=OURS + variants)

    stems = proved(world)
    for stem in stems:
        submit_proof(world, stem)
        world.accepted(stem)
    gateway.settle()

    assert len(stems) == 2
    heard = {(entry["msisdn"], entry["text"].split(":")[0]) for entry in gateway.journal("sent")}
    phones = ("+33639989901", "+33639989902")
    assert heard == {(phone, name) for phone in phones for name in ("warm", "short")}


BY_NAME = "{% if name == 'Léa 4' %}Cher client{% else %}Bonjour{% endif %} {{ name }}"


def test_a_proof_shows_each_branch_of_a_text(world: World, gateway: Sandbox) -> None:
    world.text = BY_NAME
    world.prepare(numbers(6), more=OURS)

    [stem] = proved(world)
    submit_proof(world, stem)
    gateway.settle()

    texts = [entry["text"] for entry in gateway.journal("sent")]
    assert sorted(texts) == ["Bonjour Léa 0 STOP 36180", "Cher client Léa 4 STOP 36180"]


def test_a_review_shows_each_branch_and_unmet_condition(world: World) -> None:
    world.text = BY_NAME.replace("Léa 4", "Léa 40") + "{% if name == 'lea' %}!{% endif %}"
    world.prepare(numbers(50))

    review = world.run_folder("one").read_review()

    assert "Cher client Léa 40" in review
    assert "message.txt, line 1: its condition is true in no message" in review


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_operator_sends_every_variants_proof(
    world: World, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = world.folder / "campaigns" / "tests"
    home.mkdir(parents=True)
    (home / "short.txt").write_text("short: {{ name }}")
    variants = "variants: {w: {text: message.txt}, s: {text: short.txt}}\n"
    world.prepare(numbers(3), more=OURS + variants)
    folder = world.run_folder("one")
    plan = folder.read_plan()
    stems = proving.prove(plan, folder, world.ledger, world.settings, clock.now())
    monkeypatch.setattr(wiring, "ledger_for", lambda ti: world.ledger)
    monkeypatch.setenv("AIRFLOW_VAR_SMS_HALT", "no")
    task = SubmitOperator(task_id="send_proof", stems=stems)
    monkeypatch.setattr("sms_airflow.operators.watch", lambda *given: None)

    task._go_on({"ti": SimpleNamespace(id="try")})

    assert world.ledger.submissions.get(stems[0]).state is State.SUBMITTED


def test_an_unrenderable_first_recipient_does_not_stop_the_proof(
    world: World, gateway: Sandbox
) -> None:
    plan = world.plan(more=OURS)
    folder = world.run_folder("one")
    rows = [
        (f"k{at}", number, "x" * 200 if at < 2 else "Léa") for at, number in enumerate(numbers(9))
    ]
    stages.extract([parquet.from_rows(["key", "msisdn", "name"], rows)], folder)
    stages.screen(plan, folder, world.ledger, world.settings)
    stages.render(plan, folder, world.ledger, world.settings)
    reviewed.review(plan, folder, world.ledger, world.settings)

    [stem] = proving.prove(plan, folder, world.ledger, world.settings, clock.now())

    assert world.ledger.submissions.get(stem).messages == 2


def test_no_approval_counts_before_the_proof_is_sent(world: World, gateway: Sandbox) -> None:
    [prepared] = world.prepare(numbers(3), more=OURS)
    folder = world.run_folder("one")
    plan = folder.read_plan()
    proving.prove(plan, folder, world.ledger, world.settings, clock.now())
    # send_proof was marked as success by hand, and somebody said yes to "The proof was sent".
    world.ledger.runs.approve("one", by="somebody", shown=world.ledger.runs.prepared_digest("one"))

    with pytest.raises(SmsError):
        world.submit(prepared.stem)


def test_an_approval_is_possible_after_the_proof_arrives(world: World, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 3, 2, 22, 30, tzinfo=PARIS))
    files = world.prepare(numbers(3), more=OURS, send_at=datetime(2027, 3, 3, 10, tzinfo=PARIS))
    folder = world.run_folder("one")
    plan = folder.read_plan()
    [stem] = proving.prove(plan, folder, world.ledger, world.settings, clock.now())

    proof = world.ledger.submissions.get(stem)
    until = approval.deadline(plan, files, world.settings, clock.now(), [proof])

    assert until > proof.send_at


def test_a_tester_who_is_a_customer_gets_both_messages(world: World, gateway: Sandbox) -> None:
    ours = f'proof_to: ["+{33639980000}"]\n'
    [prepared] = world.prepare(numbers(3), more=ours + ONCE)
    folder = world.run_folder("one")
    plan = folder.read_plan()
    [stem] = proving.prove(plan, folder, world.ledger, world.settings, clock.now())
    link = world.folder / "runs" / world.ledger.submissions.get(stem).run_key
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(world.ledger.runs.get(world.ledger.submissions.get(stem).run_key).folder)
    world.submit(stem)
    world.accepted(stem)
    world.ledger.runs.approve("one", by="somebody", shown=world.ledger.runs.prepared_digest("one"))

    assert world.submit(prepared.stem).messages == 3


def test_a_proof_in_unknown_state_names_its_task(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=OURS)
    folder = world.run_folder("one")
    [stem] = proving.prove(folder.read_plan(), folder, world.ledger, world.settings, clock.now())
    world.ledger.submissions.claim(stem, "a try", lease=timedelta(minutes=1))
    world.ledger.submissions.move(stem, to=State.UNKNOWN)

    with wiring.gateway() as session:
        assert "send_proof" in settlement.settle(stem, session, world.ledger, arrived=True)


def test_opted_out_testers_do_not_count_as_proof_readers(world: World, gateway: Sandbox) -> None:
    """All testers said STOP: nothing can be proved, and the run can't go on."""
    world.prepare(numbers(3), more=OURS)
    folder = world.run_folder("one")
    opt_out(world.ledger, 33639989901, 33639989902)
    plan = folder.read_plan()

    with pytest.raises(LedgerError, match="every number of proof_to is in the stop list"):
        proving.prove(plan, folder, world.ledger, world.settings, clock.now())


def test_a_proof_shows_the_key_that_the_text_shows(world: World, gateway: Sandbox) -> None:
    world.text = "Votre code : {{ key }}"
    world.prepare(numbers(3), more=OURS)
    folder = world.run_folder("one")
    [stem] = proving.prove(folder.read_plan(), folder, world.ledger, world.settings, clock.now())

    assert b"proof-1" not in folder.proof().send_file(stem).read_bytes()
