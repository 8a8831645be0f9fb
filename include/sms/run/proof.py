"""The proof: the real text on a few phones of the team, before the run is approved.

A proof is a small run in a folder below the run's, with its own name at the gateway, so it is sent
at most once like any other file. A campaign with variants has one proof for each. A proof belongs
to the exact bytes of the run: a run that is prepared differently needs a new proof.
"""

import logging
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sms.calendar import send_window
from sms.calendar.zones import FRANCE
from sms.campaign.definition import Campaign, campaign_id
from sms.columnar import parquet
from sms.errors import LedgerError
from sms.ledger.ledger import Ledger
from sms.ledger.states import State
from sms.message.rendering import VARIANT, WAY
from sms.message.samples import EachWay
from sms.run import plan as planning
from sms.run import stages
from sms.run.approval import proof_keys
from sms.run.departure import require_stop_list
from sms.run.folder import RunFolder
from sms.run.preparation import Plan
from sms.run.schedule import PlannedFile, Schedule
from sms.settings import Settings
from sms.telecom.msisdn import countries

log = logging.getLogger(__name__)


def prove(
    plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings, now: datetime
) -> list[str]:
    """Prepare the proofs of a prepared run, and return their stems; none for a dry run.

    Each number of `proof_to` gets the text of one of the run's first recipients, for each variant.
    Raises WindowClosed, LedgerError, SourceError.
    """
    stems = []
    for variant, run_key in proof_keys(plan, ledger).items():
        _, text = plan.campaign.texts[variant]
        place = folder.proof(variant)
        _call_off_another(place, run_key, ledger)
        known = ledger.submissions.of_run(run_key)
        if known and not {each.state for each in known} & {State.PLANNED, State.CANCELLED}:
            stems += [each.stem for each in known]
            continue
        people = _people(plan, variant, folder, ledger)
        # The limits of the run do not apply to its proof.
        changes: dict[str, Any] = {
            **{"text": text, "variants": {}, "control_group": None, "on_empty": "fail"},
            **{"approval": 0, "proof_to": (), "frequency_cap": None},
        }
        campaign = plan.campaign.model_copy(update=changes)
        proof = _plan(plan, campaign, run_key, ledger, settings, now, people.num_rows)
        stems += _prepared(proof, people, place, ledger, settings)
    return stems


def _plan(
    plan: Plan,
    campaign: Campaign,
    run_key: str,
    ledger: Ledger,
    settings: Settings,
    now: datetime,
    phones: int,
) -> Plan:
    """The proof's plan: at once, or at the next opening."""
    slot = send_window.slot(None, campaign.kind, now=now, settings=settings)
    return plan.model_copy(
        update={
            "run_key": run_key,
            "campaign": campaign,
            "campaign_id": campaign_id(campaign.name, run_key, ledger.runs.attempts(run_key) + 1),
            "send_at": slot.send_at,
            "slot_reason": f"a proof of {plan.campaign_id}, {slot.reason}",
            "at_once": True,
            "limit": phones,
            "planned_at": now,
        }
    )


def _prepared(
    proof: Plan, people: pa.RecordBatch, place: RunFolder, ledger: Ledger, settings: Settings
) -> list[str]:
    """Write the proof's plan and bytes, and return its stems."""
    place.write_plan(proof)
    planning.record_plan(proof, place, ledger)
    only = PlannedFile(
        zone=FRANCE, send_at=proof.send_at, people=people.num_rows, reason=proof.slot_reason
    )
    place.write_schedule(Schedule(files=(only,)), proof)
    parquet.write(place.audience, [people])
    ledger.runs.record_screening(
        proof.run_key,
        candidates=people.num_rows,
        audience=people.num_rows,
        excluded={},
        stop_list_size=require_stop_list(ledger, settings),
    )
    stages.render(proof, place, ledger, settings)
    files = stages.require_faultless(proof, place, ledger, settings)
    return [each.stem for each in files]


def _people(plan: Plan, variant: str, folder: RunFolder, ledger: Ledger) -> pa.RecordBatch:
    """The first recipients of a text, with the numbers of `proof_to` in place of their own.

    Raises LedgerError if every number of `proof_to` has opted out.
    """
    phones = np.array([int(number) for number in plan.campaign.proof_to], np.int64)
    numbers = np.setdiff1d(phones, ledger.stop_list.opted_out(phones))
    if not len(numbers):
        raise LedgerError(
            "every number of proof_to is in the stop list, so no phone would get the proof: name "
            "phones in campaign.yaml that have not opted out"
        )
    rows = _rows_of(_first_keys(plan, variant, folder, ledger, len(numbers)), folder)
    again = [place // rows.num_rows for place in range(len(numbers))]
    people = rows.take(pa.array([place % rows.num_rows for place in range(len(numbers))]))
    keys = people["key"].to_pylist()
    changed = {
        "row": pa.array(range(1, len(numbers) + 1), pa.int64()),
        "key": pa.array(
            [f"{key}-{times}" if times else key for key, times in zip(keys, again, strict=True)]
        ),
        "msisdn": pa.array(numbers),
        "country": countries(pa.array(numbers)),
        "of_file": pa.array([0] * len(numbers), pa.int16()),
    }
    columns = [
        changed[field.name].cast(field.type) if field.name in changed else people[field.name]
        for field in people.schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=people.schema)


def _first_keys(
    plan: Plan, variant: str, folder: RunFolder, ledger: Ledger, most: int
) -> list[str]:
    """The keys of `most` recipients of a text; of any text if this one has no recipient.

    Recipients that show the different ways through the text's conditions come first.
    """
    showing: list[str] = []
    keys: list[str] = []
    others: list[str] = []
    ways = EachWay()
    for each in ledger.submissions.of_run(plan.run_key):
        path = folder.messages(each.stem)
        known = [name for name in (VARIANT.name, WAY.name) if name in parquet.columns(path)]
        for batch in parquet.batches(path, ["key", *known]):
            found = batch
            if variant:
                found = batch.filter(pc.equal(batch["variant"], variant))
            showing += found["key"].take(pa.array(ways.fresh(found), pa.int64())).to_pylist()
            keys += found["key"].slice(0, most - len(keys)).to_pylist()
            others += batch["key"].slice(0, most - len(others)).to_pylist()
            if len(keys) >= most and WAY.name not in known:
                return keys
    if len(showing) > most:
        log.warning(
            "the proof of %s shows %d of %d ways through the text: name more phones in proof_to",
            plan.campaign_id,
            most,
            len(showing),
        )
    return [*dict.fromkeys([*showing, *keys])][:most] or others


def _rows_of(keys: list[str], folder: RunFolder) -> pa.RecordBatch:
    """The audience's rows with these keys."""
    wanted = pa.array(keys, pa.large_string())
    found = [
        batch.filter(pc.is_in(batch["key"], value_set=wanted))
        for batch in parquet.batches(folder.audience)
    ]
    return pa.concat_batches(found)


def _call_off_another(place: RunFolder, run_key: str, ledger: Ledger) -> None:
    """Call off a proof of an earlier preparation that has not left yet."""
    if not place.has_plan:
        return
    before = place.read_plan()
    if before.run_key != run_key:
        planning.call_off(before, ledger, "the run was prepared again")
