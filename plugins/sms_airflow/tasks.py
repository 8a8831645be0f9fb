"""The tasks of the DAGs: each calls one function of `sms` and returns counts.

Tasks pass paths, stems and counts to each other, never a phone number or a text.
"""

import logging
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from sms_airflow.failures import in_a_sentence

# For every task: each may run again at any time. A permanent failure (a rejected file, a wrong key,
# a bad query) is not retried, see `failures`.
PATIENT: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
}
# These retries last longer than the lease of a claim that a killed try left.
STUBBORN: dict[str, Any] = {**PATIENT, "retries": 8}

log = logging.getLogger(__name__)

OPT_OUTS = Asset("opt_outs", uri="sms://opt_outs")
DELIVERY_REPORTS = Asset("delivery_reports", uri="sms://delivery_reports")
# An asset as an outlet is an event at each success. An alias is an event only if the task adds it.
NEW_OPT_OUTS = AssetAlias("new_opt_outs")
NEW_DELIVERY_REPORTS = AssetAlias("new_delivery_reports")


@task(**PATIENT)
@in_a_sentence
def plan(campaign_name: str) -> dict[str, Any]:
    """Fix the hour and the file's name in the ledger, before anything is read.

    Reads the campaign's folder, finds the next open hour (marketing only), and records both. Later
    tasks use this plan, even if the folder changes.
    """
    from sms import clock
    from sms.calendar import send_window
    from sms.run import plan as planning
    from sms_airflow import form, wiring

    context = get_current_context()
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    form.require_known(context["dag_run"].conf or {})
    now, late = clock.now(), _lateness(context)  # together: time between them would be counted
    ledger = wiring.ledger(actor=f"{dag_id}/{run_id}/plan")
    drawn = planning.plan(
        wiring.campaign(campaign_name),
        form.request(context["params"]),
        run_key=f"{dag_id}/{run_id}",
        service_id=wiring.account().service_id,
        folder=wiring.run_folder(dag_id, run_id),
        ledger=ledger,
        settings=wiring.settings(),
        now=now,
        asked_at=now - late,
    )
    in_words = send_window.in_words(drawn.send_at)
    log.info("To be sent on %s (%s)", in_words, drawn.slot_reason)
    return {"send_at": drawn.send_at.isoformat(), "words": in_words, "why": drawn.slot_reason}


@task(**PATIENT)
@in_a_sentence
def extract() -> dict[str, int]:
    """Stream the query's rows out of the warehouse into `01_candidates.parquet`.

    Memory does not grow with the number of rows.
    """
    from sms.run import stages
    from sms_airflow import wiring

    run = _Run()
    if run.under_way:
        return {}
    campaign = run.plan.campaign
    rows = wiring.rows(campaign.warehouse, campaign.sql, str(campaign.sql_path))
    return {"candidates": stages.extract(rows, run.folder)}


@task(**PATIENT)
@in_a_sentence
def screen() -> dict[str, int]:
    """Normalise numbers, drop duplicates and opt-outs.

    `02_audience.parquet` holds the recipients, `02_excluded.parquet` all others, each with a key
    and one reason: candidates = audience + excluded.
    """
    from sms.run import stages

    run = _Run()
    if run.under_way:
        return {}
    counts = stages.screen(run.plan, run.folder, run.ledger, run.settings)
    return run.unless_empty(counts, counts["audience"])


@task(**PATIENT)
@in_a_sentence
def render() -> dict[str, int]:
    """Render each recipient's text, count its segments, and write the exact bytes of each file.

    If the recipients are too many for one file, they are split over files of equal size.
    """
    from sms.run import stages

    run = _Run()
    if run.under_way:
        return {}
    counts = stages.render(run.plan, run.folder, run.ledger, run.settings)
    return run.unless_empty(counts, counts["messages"])


@task(**PATIENT)
@in_a_sentence
def review() -> list[str]:
    """Check the bytes by the provider's rules, and write the review.

    Returns the files to submit: none for a dry run, which ends here.
    """
    from sms.run import plan as planning
    from sms.run import review as reviewed
    from sms_airflow import wiring

    run = _Run()
    if run.under_way:
        return [each.stem for each in run.ledger.submissions.of_run(run.key)]
    report = reviewed.review(run.plan, run.folder, run.ledger, run.settings, wiring.balance())
    for line in report.splitlines():
        log.info("%s", line)
    get_current_context()["ti"].xcom_push(key="review", value=report)
    if run.plan.dry_run:
        log.info("A dry run ends here: the files are in %s", run.folder)
        planning.call_off(run.plan, run.ledger, "a dry run")
        return []
    return [each.stem for each in run.ledger.submissions.of_run(run.key)]


@task(**PATIENT)
@in_a_sentence
def prepare_proof() -> list[str]:
    """Prepare the proof: the real text, to the campaign's own test numbers (`proof_to`).

    Returns its file, which is sent before the task `approve` asks for an approval.
    """
    from sms import clock
    from sms.run import proof

    run = _Run()
    if run.under_way:
        return []
    return proof.prove(run.plan, run.folder, run.ledger, run.settings, clock.now())


@task(**PATIENT)
@in_a_sentence
def archive(stem: str, name: str) -> dict[str, Any]:
    """Copy the report's bytes into our archive, before they are read."""
    from sms import clock
    from sms.reports import collection
    from sms_airflow import wiring

    ledger = _ledger()
    with wiring.gateway() as session:
        archived = collection.archive_delivery_report(
            stem, name, session, ledger, wiring.archive(), clock.now()
        )
    return archived.as_json()


@task(**PATIENT)
@in_a_sentence
def load(stem: str, archived: dict[str, Any]) -> dict[str, int]:
    """Load the archived report into the ledger; loading it again changes nothing."""
    from sms.reports import collection
    from sms.reports.archive import Archived
    from sms_airflow import wiring

    loaded = collection.load_delivery_report(
        stem, Archived.from_json(archived), _ledger(), wiring.archive()
    )
    for note in loaded.notes:
        log.warning("%s: %s", loaded.name, note)
    return {"rows": loaded.rows, "unreadable": loaded.unreadable}


@task(outlets=[NEW_DELIVERY_REPORTS], **PATIENT)
@in_a_sentence
def reconcile(stem: str) -> dict[str, int]:
    """Count the outcomes of all sent messages, and log what is missing.

    A new or changed report is an event of the asset `delivery_reports`.
    """
    from sms.reports import collection

    ledger = _ledger()
    counts, _ = collection.reconcile(stem, ledger)
    if ledger.reports.announce(stem):
        _announce(NEW_DELIVERY_REPORTS, DELIVERY_REPORTS, {"stem": stem})
    return asdict(counts)


@task(outlets=[NEW_OPT_OUTS], **PATIENT)
@in_a_sentence
def collect_replies() -> dict[str, int]:
    """Download and load new STOPs and replies; opt-outs first.

    New opt-outs, imported ones too, are an event of the asset `opt_outs`.
    """
    return _collect_replies()


@task(outlets=[NEW_OPT_OUTS], **PATIENT)
@in_a_sentence
def fetch_stops() -> dict[str, int]:
    """Download and load pending STOPs, right before the upload.

    It does once more what `collect_replies` does every five minutes, so that no number that has
    opted out by now gets a message. A STOP that can't be read stops the run here, until an operator
    has seen it.
    """
    return _collect_replies()


def _collect_replies() -> dict[str, int]:
    from sms import clock
    from sms.reports import collection
    from sms_airflow import wiring

    ledger = _ledger()
    with wiring.gateway() as session:
        collected = collection.collect_replies(session, ledger, wiring.archive(), clock.now())
    if new := ledger.stop_list.announce():
        _announce(NEW_OPT_OUTS, OPT_OUTS, {"opt_outs": new})
    return {
        "files": len(collected),
        "opt_outs": sum(each.opt_outs for each in collected),
        "replies": sum(each.replies for each in collected),
    }


def _announce(by: AssetAlias, asset: Asset, news: dict[str, Any]) -> None:
    """Make this task's success an event of the asset, with counts and file names only."""
    get_current_context()["outlet_events"][by].add(asset, extra=news)


@task(**PATIENT)
@in_a_sentence
def summarize(stems: list[str]) -> dict[str, Any]:
    """Log what was sent. Fails if a file was not accepted, so that the run is marked as failed.

    Returns a sentence, and the counts of files, messages and segments.
    """
    from sms.delivery import upload

    ledger = _ledger()
    files = [ledger.submissions.get(stem) for stem in stems]
    upload.require_accepted(files)
    sentence = upload.what_was_sent(files)
    log.info("%s", sentence)
    return {
        "sentence": sentence,
        "files": len(files),
        "messages": sum(each.messages or 0 for each in files),
        "segments": sum(each.segments or 0 for each in files),
    }


@task.short_circuit(**PATIENT)
@in_a_sentence
def settle(stem: str, answer: str) -> str:
    """Record an operator's answer, and return the DAG that sends the campaign again, or "".

    An answer that does not fit the file's state, or that the gateway contradicts, is refused and
    changes nothing.
    """
    from sms.delivery import settlement
    from sms_airflow import wiring

    ledger = _ledger()
    with wiring.gateway() as session:
        if answer == "call_off":
            log.info("%s", settlement.call_off(stem, ledger, session))
            return ""
        message = settlement.settle(stem, session, ledger, arrived=answer == "arrived")
    log.info("%s", message)
    if answer == "arrived" or not settlement.is_alone(stem, ledger):
        return ""
    run_key = ledger.submissions.get(stem).run_key
    # The new run keeps the row limit, but not the hour, which has passed.
    conf = {"limit": ledger.runs.get(run_key).row_limit}
    get_current_context()["ti"].xcom_push(key="conf", value=conf)
    return str(run_key.partition("/")[0])


def _ledger() -> Any:
    from sms_airflow import wiring

    return wiring.ledger_for(get_current_context()["ti"])


class _Run:
    """The run of the present task: its plan, folder, settings and ledger."""

    def __init__(self) -> None:
        from sms.columnar import text
        from sms.run import plan as planning
        from sms_airflow import wiring

        text.use_lean_memory()
        context = get_current_context()
        ti = context["ti"]
        dag_id, run_id = ti.dag_id, ti.run_id
        self.key = f"{dag_id}/{run_id}"
        self.folder = wiring.run_folder(dag_id, run_id)
        self.settings = wiring.settings()
        self.ledger = _ledger()
        self.plan = self.folder.read_plan()
        self.under_way = planning.is_under_way(self.key, self.ledger)
        if self.under_way:
            log.info("A file of this run is being uploaded or was sent: this task does nothing")

    def unless_empty(self, counts: dict[str, int], people: int) -> dict[str, int]:
        """The counts. Without recipients, calls the run off and skips it (`on_empty: skip`)."""
        from sms.run import plan as planning

        if people:
            return counts
        planning.call_off(self.plan, self.ledger, "no recipients")
        raise AirflowSkipException("There are no recipients, and the campaign says on_empty: skip")


def _lateness(context: Any) -> timedelta:
    """How late this run is planned, by Airflow's clock."""
    wanted: datetime = context["dag_run"].run_after
    return max(datetime.now(UTC) - wanted, timedelta(0))
