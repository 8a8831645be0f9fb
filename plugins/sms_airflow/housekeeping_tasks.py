"""The tasks of the DAG housekeeping: each calls one function of `sms` and returns counts."""

from typing import Any

from airflow.sdk import ObjectStoragePath, get_current_context, task

from sms_airflow.failures import in_a_sentence
from sms_airflow.tasks import PATIENT


@task(**PATIENT)
@in_a_sentence
def clean_gateway() -> dict[str, int]:
    """Delete archived and loaded reports and finished files at the gateway; close submissions.

    Fails at the end, with the names of files that need an operator.
    """
    from sms import clock
    from sms.reports import housekeeping
    from sms_airflow import wiring

    with wiring.gateway() as session:
        cleared = housekeeping.clean_gateway(
            session, _ledger(), wiring.archive(), wiring.settings(), clock.now()
        )
    return {
        "reports": len(cleared.reports),
        "sent": len(cleared.sent),
        "closed": len(cleared.closed),
        "strange": cleared.strange,
    }


@task(**PATIENT)
@in_a_sentence
def expire_runs() -> dict[str, int]:
    """Delete the folders of runs that are over and older than `run_retention`.

    A run of that age that was prepared and never sent is called off.
    """
    from sms import clock
    from sms.privacy import retention
    from sms_airflow import wiring

    settings = wiring.settings()
    root = ObjectStoragePath(settings.runs_folder)
    expired = retention.expire_runs(root, _ledger(), settings.run_retention, clock.now())
    return {
        "folders": expired.folders,
        "called_off": len(expired.called_off),
        "unknown": expired.unknown,
    }


@task(**PATIENT)
@in_a_sentence
def expire_archive() -> dict[str, int]:
    """Delete archived reports that are older than `archive_retention`."""
    from sms import clock
    from sms.privacy import retention
    from sms_airflow import wiring

    keep = wiring.settings().archive_retention
    return {
        "reports": retention.expire_archive(wiring.archive(), _ledger(), keep, clock.now()),
    }


@task(**PATIENT)
@in_a_sentence
def expire_personal_data() -> dict[str, int]:
    """Erase the ledger's messages, outcomes and replies older than `personal_data_retention`.

    Their counts stay in each run's summary. The stop list stays; with `hash_stop_list` its old
    numbers become hashes.
    """
    from sms import clock
    from sms.privacy import retention
    from sms_airflow import wiring

    settings = wiring.settings()
    return retention.expire_personal_data(
        _ledger(),
        settings.personal_data_retention,
        clock.now(),
        hash_stop_list=settings.hash_stop_list,
    )


def _ledger() -> Any:
    from sms_airflow import wiring

    return wiring.ledger_for(get_current_context()["ti"])
