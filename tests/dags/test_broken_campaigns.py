"""A broken campaign is reported and hides no other campaign's DAG."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.serialization.serialized_objects import DagSerialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms.campaign.definition import load_all
from sms.settings import Settings
from sms_airflow import campaign_dag
from tests.airflow_home import DAGS
from tests.broken_folders import GOOD, LABELS, make, make_good


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of campaigns of the settings in force."""
    chosen, folder = tmp_path / "settings.yaml", tmp_path / "campaigns"
    chosen.write_text(f"campaigns_folder: {folder}\n")
    monkeypatch.setenv("SMS_SETTINGS", str(chosen))
    folder.mkdir()
    return folder


def dags() -> set[str]:
    """The DAGs of the campaigns, as Airflow finds them."""
    found = DagBag(dag_folder=str(DAGS / "send_campaigns.py"))
    assert found.import_errors == {}
    return set(found.dags)


def import_error() -> str:
    """What Airflow's page of import errors shows."""
    found = DagBag(dag_folder=str(DAGS / "check_campaigns.py"))
    assert not found.dags
    [error] = found.import_errors.values()
    return error


def test_every_broken_folder_is_reported_and_hides_no_dag(root: Path) -> None:
    make_good(root)
    broken = [make(label, root)[0] for label in LABELS]
    began = time.process_time()

    assert dags() == {"send__good"}
    told = import_error()

    assert time.process_time() - began < 20  # of the 30 that Airflow gives to one file
    assert [folder.name for folder in broken if str(folder) not in told] == []
    assert "campaigns/good" not in told


@pytest.mark.parametrize("piece", ["campaign_page", "form.params", "CronTriggerTimetable"])
def test_an_impossible_dag_is_reported_and_hides_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    for name in ("autumn", "broken", "winter"):
        folder = make_good(root, name)
        minute = 1 if name == "broken" else 2
        (folder / "campaign.yaml").write_text(
            f'{GOOD["campaign.yaml"]}schedule: "{minute} 9 * * *"\n'
        )
    make_fail(monkeypatch, piece, lambda first: "1 9 * * *" in str(first))

    assert dags() == {"send__autumn", "send__winter"}
    error = import_error()
    assert (
        f"{root / 'broken'}: Airflow can't build a DAG from it (RecursionError: too deep" in error
    )
    assert "autumn" not in error


def test_a_half_built_dag_is_discarded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its last tasks, or without `approve`, a campaign would still send."""
    make_good(root, "broken")
    make_good(root, "good")
    summarize, calls = campaign_dag.tasks.summarize, []

    def fail_once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("no conclusion")
        return summarize(*args)

    monkeypatch.setattr(campaign_dag.tasks, "summarize", fail_once)

    assert dags() == {"send__good"}


def make_fail(patch: pytest.MonkeyPatch, piece: str, where: Callable[[Any], bool]) -> None:
    """Let a piece of the DAG fail for one campaign."""
    *module, name = piece.split(".")
    owner: Any = getattr(campaign_dag, module[0]) if module else campaign_dag
    real = getattr(owner, name)

    def maybe(first: Any, *args: Any, **kwargs: Any) -> Any:
        if where(first):
            raise RecursionError("too deep")
        return real(first, *args, **kwargs)

    patch.setattr(owner, name, maybe)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
SCHEDULES = st.sampled_from(
    [
        *("0-59/9 0-23/5 1-31/7 1-12/3 0-6/2", "@daily", "59-0 * * * *", "* * l * *", "* * * * l5"),
        *("0 9 15W * *", "0 9 ? * ?", "R R * * *", "0\n9 * * sun#5", "0 9 * * " + "1," * 45 + "1"),
        f"0 9 * {'9,' * 44}9 3",
    ]
)


@settings(
    max_examples=40,
    derandomize=True,
    deadline=5_000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "description": WORDS,
            "owner": WORDS,
            "tags": st.lists(WORDS, max_size=3),
            "schedule": SCHEDULES,
            "max_segments": st.integers(-1, 10**18 - 1),
            "approval": st.integers(-5, 10**17),
            "control_group": st.integers(0, 99).map("{}%".format),
        },
    )
)
def test_every_readable_campaign_is_a_storable_dag(root: Path, values: dict[str, Any]) -> None:
    if not (root / "good").exists():
        make_good(root)
    written = GOOD["campaign.yaml"] + yaml.safe_dump(values, allow_unicode=True)
    (root / "good" / "campaign.yaml").write_text(written)
    campaigns, _ = load_all(root)

    made, broken = campaign_dag.build_all(campaigns, Settings())

    assert len(made) + len(broken) == len(campaigns)
    for dag in made:
        require_storable(dag)


def require_storable(dag: DAG) -> None:
    """What PostgreSQL and Airflow's columns take."""
    told = json.dumps(DagSerialization.to_dict(dag), ensure_ascii=False)
    told.encode()
    assert r"\u0000" not in told
    timetable = decode_timetable(encode_timetable(dag.timetable))
    assert len(timetable.description) <= 1_000
    assert len(dag.owner) <= 500
    assert max(map(len, dag.tags)) <= 100
