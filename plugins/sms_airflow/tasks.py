"""The tasks of the DAGs: open what wiring gives, call the story, return a few counts.

What travels between tasks is a path, a stem or a count, never a number or a text of a recipient.
"""

import logging
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from sms_airflow.failures import in_a_sentence

# For every task: each may run again at any time, and what is not worth another try (a rejected
# file, a wrong key, a bad query) fails at once all the same, see `failures`.
PATIENT: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
}
# Longer than the lease of a claim that a killed try left behind.
STUBBORN: dict[str, Any] = {**PATIENT, "retries": 8}

log = logging.getLogger(__name__)

OPT_OUTS = Asset("opt_outs", uri="sms://opt_outs")
DELIVERY_REPORTS = Asset("delivery_reports", uri="sms://delivery_reports")
# An outlet that is an asset is an event at every success. These are one only where a task adds it.
NEW_OPT_OUTS = AssetAlias("new_opt_outs")
NEW_DELIVERY_REPORTS = AssetAlias("new_delivery_reports")


@task(**PATIENT)
@in_a_sentence
def plan(campaign_name: str) -> dict[str, Any]:
    """Fix the hour and the file's name, in the ledger, before anything is read.

    Takes the campaign's folder as it is now, finds the next open hour (marketing only), and
    records both; every later task obeys what was fixed here, even if the folder changes.
    """
    from sms import clock
    from sms.calendar import send_window
    from sms.run import plan as planning
    from sms_airflow import form, wiring

    context = get_current_context()
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    form.require_known(context["dag_run"].conf or {})
    now, late = clock.now(), _lateness(context)  # side by side: what lies between would count
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

    Memory stays flat, however many rows there are.
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
    """Normalise numbers, drop duplicates and everyone who ever said STOP.

    `02_audience.parquet` holds whom we write to, `02_excluded.parquet` everybody else, each with
    a key and one reason. Nobody is lost: candidates = audience + excluded.
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
    """Write each person's text, count its segments, and make the very bytes of each file.

    More recipients than one file takes become several files of equal size.
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
    """Check the bytes by the provider's rules and write the report that a person reads.

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

    Returns its file, which goes out before anybody is asked for a yes to all the others.
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
    """Copy the report's very bytes into our own archive, before anything reads them."""
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
    """Count what became of every message sent, and say what is missing.

    A report that is new, or that changed, is an event of the asset `delivery_reports`.
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
    """Bring every STOP and reply home that is not home yet; opt-outs first.

    New opt-outs, imported ones too, are an event of the asset `opt_outs`.
    """
    return _bring_replies_home()


@task(outlets=[NEW_OPT_OUTS], **PATIENT)
@in_a_sentence
def fetch_stops() -> dict[str, int]:
    """Bring every STOP home that lies at the gateway, right before the file goes there.

    What `collect_replies` does every five minutes, once more: nobody who said STOP by now is sent
    a message. A STOP that can't be read ends the run here, until a person has seen it.
    """
    return _bring_replies_home()


def _bring_replies_home() -> dict[str, int]:
    """What lies at the gateway of STOPs and replies, into the ledger."""
    from sms import clock
    from sms.reports import collection
    from sms_airflow import wiring

    ledger = _ledger()
    with wiring.gateway() as session:
        brought = collection.collect_replies(session, ledger, wiring.archive(), clock.now())
    if new := ledger.stop_list.announce():
        _announce(NEW_OPT_OUTS, OPT_OUTS, {"opt_outs": new})
    return {
        "files": len(brought),
        "opt_outs": sum(each.opt_outs for each in brought),
        "replies": sum(each.replies for each in brought),
    }


def _announce(by: AssetAlias, asset: Asset, news: dict[str, Any]) -> None:
    """Let this task's success be an event of the asset: counts and names of files, no person."""
    get_current_context()["outlet_events"][by].add(asset, extra=news)


@task(**PATIENT)
@in_a_sentence
def summarize(stems: list[str]) -> dict[str, Any]:
    """Say what was sent. It fails with any file before it, so that no run looks better than it was.

    Returns a sentence, and counts files, messages and segments.
    """
    from sms.delivery import upload

    ledger = _ledger()
    files = [ledger.submissions.get(stem) for stem in stems]
    upload.require_heard(files)
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
    """Write a person's answer into the ledger; the DAG that sends the campaign again, if one shall.

    A state that the answer doesn't fit is refused, and nothing changes; so is an answer that the
    gateway refutes.
    """
    from sms.delivery import settlement
    from sms_airflow import wiring

    ledger = _ledger()
    with wiring.gateway() as session:
        if answer == "call_off":
            log.info("%s", settlement.call_off(stem, ledger, session))
            return ""
        told = settlement.settle(stem, session, ledger, arrived=answer == "arrived")
    log.info("%s", told)
    if answer == "arrived" or not settlement.is_alone(stem, ledger):
        return ""
    run_key = ledger.submissions.get(stem).run_key
    # What was a trial is one again. Its hour has passed, so that is not asked for again.
    conf = {"limit": ledger.runs.get(run_key).row_limit}
    get_current_context()["ti"].xcom_push(key="conf", value=conf)
    return str(run_key.partition("/")[0])


def _ledger() -> Any:
    from sms_airflow import wiring

    return wiring.ledger_for(get_current_context()["ti"])


class _Run:
    """One run of a campaign as its later tasks find it: its plan, folder and ledger."""

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
            log.info("A file of this run is under way or gone: nothing of it is made again")

    def unless_empty(self, counts: dict[str, int], people: int) -> dict[str, int]:
        """The counts; or the run's end, if nobody is left and the campaign says skip."""
        from sms.run import plan as planning

        if people:
            return counts
        planning.call_off(self.plan, self.ledger, "nobody to write to")
        raise AirflowSkipException("Nobody to write to, and the campaign says on_empty: skip")


def _lateness(context: Any) -> timedelta:
    """How long after its time this run came to be planned, by Airflow's own clock."""
    wanted: datetime = context["dag_run"].run_after
    return max(datetime.now(UTC) - wanted, timedelta(0))
