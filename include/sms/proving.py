"""The proof: the real text on a few phones of ours, before a person says yes to all the others.

A proof is a small run of its own below the run's folder, with its own name at the gateway, so that
it leaves at most once like any other file; of a campaign with variants there is one for each. It
belongs to the very bytes that the run would send: prepared differently, the run is proved again.
"""

import logging
from datetime import datetime
from typing import Any

import pyarrow as pa

from sms import frames, preparing, send_window, sending
from sms.campaign import campaign_id
from sms.ledger.ledger import Ledger
from sms.ledger.records import PlannedRun
from sms.ledger.states import State
from sms.preparing import Plan
from sms.schedule import File, Schedule
from sms.settings import Settings
from sms.zones import FRANCE

log = logging.getLogger(__name__)

PROOF = "proof"  # the folder, and what a proof's run is called by in the ledger


def is_proof(run_key: str) -> bool:
    """Whether a run is another's proof."""
    return f"/{PROOF}-" in run_key


def prove(plan: Plan, folder: Any, ledger: Ledger, settings: Settings, now: datetime) -> list[str]:
    """Prepare the proof of a run that is prepared; its files' stems, or nothing for a dry run.

    Each number of `proof_to` gets the text of one of the run's first recipients, and every variant
    where there are several. Raises WindowClosed, LedgerError, SourceError.
    """
    if plan.dry_run or not plan.campaign.proof_to:
        return []
    run_key = f"{plan.run_key}/{PROOF}-{ledger.prepared_digest(plan.run_key)}"
    stems = []
    for variant, (_, text) in plan.campaign.texts.items():
        said: dict[str, Any] = {"text": text, "variants": {}, "holdout": None}
        one = plan.model_copy(update={"campaign": plan.campaign.model_copy(update=said)})
        place = folder / (f"{PROOF}-{variant}" if variant else PROOF)
        stems += _proved(
            one,
            f"{run_key}-{variant}" if variant else run_key,
            folder,
            place,
            ledger,
            settings,
            now,
        )
    return stems


def _proved(
    plan: Plan,
    run_key: str,
    folder: Any,
    place: Any,
    ledger: Ledger,
    settings: Settings,
    now: datetime,
) -> list[str]:
    """Prepare the proof of one text, unless it is prepared already; its file's stem."""
    _call_off_another(place, run_key, ledger)
    known = ledger.submissions(run_key)
    if known and not {each.state for each in known} & {State.PLANNED, State.CANCELLED}:
        return [each.stem for each in known]
    proof = _plan(plan, run_key, ledger, settings, now)
    people = _people(proof, folder)
    place.mkdir(parents=True, exist_ok=True)
    sending.write_plan(proof, place)
    (ledger.replan if known else ledger.plan)(
        PlannedRun(
            run_key=run_key,
            campaign=proof.campaign.name,
            kind=proof.campaign.kind,
            service_id=proof.service_id,
            send_at=proof.send_at,
            slot_reason=proof.slot_reason,
            dry_run=False,
            planned_at=now,
            folder=str(place),
            row_limit=people.num_rows,
        ),
        proof.stem(1, 1),
    )
    only = File(
        zone=FRANCE, send_at=proof.send_at, people=people.num_rows, reason=proof.slot_reason
    )
    sending.write_schedule(Schedule(files=(only,)), place)
    frames.write(place / sending.AUDIENCE, [people])
    ledger.record_screening(
        run_key,
        candidates=people.num_rows,
        audience=people.num_rows,
        excluded={},
        stop_list_size=sending.require_stop_list(ledger, settings),
    )
    sending.render(proof, place, ledger, settings)
    files = ledger.submissions(run_key)
    for each in files:
        with sending.bytes_file(place, each.stem).open("rb") as source:
            preparing.require_faultless(source, each.stem, settings)
    return [each.stem for each in files]


def _plan(plan: Plan, run_key: str, ledger: Ledger, settings: Settings, now: datetime) -> Plan:
    """The proof's own plan: at once, or when it is open next, and without the run's limits."""
    asked = plan.campaign
    campaign = asked.model_copy(update={"approval": 0, "proof_to": (), "at_most": None})
    slot = send_window.slot(None, campaign.kind, now=now, settings=settings)
    return plan.model_copy(
        update={
            "run_key": run_key,
            "campaign": campaign.model_copy(update={"on_empty": "fail"}),
            "campaign_id": campaign_id(campaign.name, run_key, ledger.attempts(run_key) + 1),
            "send_at": slot.send_at,
            "slot_reason": f"a proof of {plan.campaign_id}, {slot.reason}",
            "at_once": True,
            "limit": len(asked.proof_to),
        }
    )


def _people(proof: Plan, folder: Any) -> pa.RecordBatch:
    """The first recipients of the run, each with the number of somebody of ours instead."""
    numbers = sending.read_plan(folder).campaign.proof_to
    first = next(batch for batch in frames.batches(folder / sending.AUDIENCE) if batch.num_rows)
    rows = first.take(pa.array([place % first.num_rows for place in range(len(numbers))]))
    changed = {
        "row": pa.array(range(1, len(numbers) + 1), pa.int64()),
        "key": pa.array([f"{PROOF}-{place}" for place in range(1, len(numbers) + 1)]),
        "msisdn": pa.array([int(number) for number in numbers], pa.int64()),
        "of_file": pa.array([0] * len(numbers), pa.int16()),
    }
    columns = [
        changed[field.name].cast(field.type) if field.name in changed else rows[field.name]
        for field in rows.schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def _call_off_another(place: Any, run_key: str, ledger: Ledger) -> None:
    """Whatever was to prove other bytes, and has not left yet, never leaves."""
    if not (place / sending.PLAN).exists():
        return
    before = sending.read_plan(place)
    if before.run_key != run_key:
        sending.call_off(before, ledger, "what it was to prove was prepared anew")
