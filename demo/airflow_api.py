"""A client of Airflow's public REST API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import httpx

FINISHED_RUN = {"success", "failed"}
# Seconds: on a busy machine a change of a DAG waits while all DAGs of its file are stored.
ANSWERS_WITHIN = 300.0


class AirflowRefused(RuntimeError):
    """The API answered with an error, which is in the message."""


class NotThere(AirflowRefused):
    """The API answered 404."""


@dataclass(frozen=True, slots=True)
class Run:
    """A DAG run, from the API."""

    dag_id: str
    run_id: str
    state: str
    run_after: datetime
    started: datetime | None
    ended: datetime | None
    note: str | None = None

    @property
    def finished(self) -> bool:
        return self.state in FINISHED_RUN

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        return cls(
            dag_id=answer["dag_id"],
            run_id=answer["dag_run_id"],
            state=answer["state"],
            run_after=datetime.fromisoformat(answer["run_after"]),
            started=_moment(answer["start_date"]),
            ended=_moment(answer["end_date"]),
            note=answer["note"],
        )


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """A task of a run; a mapped one has an instance for each `map_index`, others have -1."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started: datetime | None
    ended: datetime | None

    @property
    def name(self) -> str:
        """The task's name without its group."""
        return self.task_id.rpartition(".")[2]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        return cls(
            task_id=answer["task_id"],
            map_index=answer["map_index"],
            state=answer["state"],
            try_number=answer["try_number"],
            started=_moment(answer["start_date"]),
            ended=_moment(answer["end_date"]),
        )


class Airflow:
    """A client of one Airflow, logged in as its administrator."""

    def __init__(self, url: str, login: str, password: str) -> None:
        self.url = url
        self.login = login
        self.password = password
        # Without the proxies of the caller's environment, as the server is on 127.0.0.1.
        self._client = httpx.Client(base_url=url, timeout=ANSWERS_WITHIN, trust_env=False)

    def close(self) -> None:
        """Close the open connections."""
        self._client.close()

    def health(self) -> dict[str, str | None]:
        """The state of each part: healthy, unhealthy, or None for one that never ran."""
        try:
            answer = self._client.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return {"api_server": None}
        parts = answer.json() if answer.is_success else {"api_server": {"status": None}}
        return {part: facts["status"] for part, facts in parts.items()}

    def dag_ids(self) -> set[str]:
        """The DAGs that can be run."""
        return {dag["dag_id"] for dag in self._all("/dags", "dags")}

    def import_errors(self) -> list[str]:
        """The import errors of DAG files, a sentence or a traceback each."""
        errors = self._all("/importErrors", "import_errors")
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Pause a DAG."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> Run:
        """Start a run now, with these Params."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return Run.of(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def backfill(self, dag_id: str, first: datetime, last: datetime) -> None:
        """Request a run for each scheduled time between two instants."""
        body = {"dag_id": dag_id, "from_date": first.isoformat(), "to_date": last.isoformat()}
        self._call("POST", "/backfills", json=body)

    def run(self, dag_id: str, run_id: str) -> Run:
        """A run as it is now."""
        return Run.of(self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> list[Run]:
        """All runs of a DAG, including queued ones."""
        return [Run.of(run) for run in self._all(f"/dags/{dag_id}/dagRuns", "dag_runs")]

    def unfinished(self) -> list[Run]:
        """The queued and running runs of all DAGs."""
        states = [("state", "queued"), ("state", "running")]
        answer = self._call("GET", "/dags/~/dagRuns", params=[("limit", 100), *states])
        return [Run.of(run) for run in answer["dag_runs"]]

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """The tasks of a run, each instance of the mapped ones."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return [TaskInstance.of(each) for each in self._all(path, "task_instances")]

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> Any:
        """What a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        params = {"map_index": map_index, "deserialize": False}
        return self._call("GET", path, params=params)["value"]

    def clear(
        self, dag_id: str, run_id: str, task_ids: list[str] | None = None, **how: Any
    ) -> None:
        """Clear tasks of a run, as the button in the UI does; without any, the failed ones."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": task_ids, **how}
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """The required action of a task. Raises NotThere while there is none."""
        return dict(self._call("GET", self._question(dag_id, run_id, task_id)))

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a required action, as the UI's page does."""
        body = {"chosen_options": [option], "params_input": {}}
        self._call("PATCH", self._question(dag_id, run_id, task_id), json=body)

    def _question(self, dag_id: str, run_id: str, task_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"

    def mark_failed(self, dag_id: str, run_id: str) -> None:
        """Mark a run as failed, which ends its tasks."""
        self._call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def set_variable(self, key: str, value: str) -> None:
        """Create a variable, as Admin > Variables does."""
        self._call("POST", "/variables", json={"key": key, "value": value})

    def delete_variable(self, key: str) -> None:
        """Delete a variable."""
        self._call("DELETE", f"/variables/{key}")

    def log(
        self, dag_id: str, run_id: str, instance: TaskInstance, *, try_number: int | None = None
    ) -> str:
        """The log of a task's last try, or of `try_number`, as text."""
        number = max(instance.try_number, 1) if try_number is None else try_number
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{instance.task_id}/logs/{number}"
        params = {"map_index": instance.map_index, "full_content": True}
        answer = self._call("GET", path, params=params, headers={"Accept": "application/json"})
        return "\n".join(_log_line(line) for line in answer["content"])

    def _all(self, path: str, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", path, params={"limit": 100, "offset": len(found)})
            found += page[key]
            if not page[key] or len(found) >= page.get("total_entries", 0):
                return found

    def _call(self, verb: str, path: str, **request: Any) -> Any:
        if "Authorization" not in self._client.headers:
            self._log_in()
        answer = self._client.request(verb, f"/api/v2{path}", **request)
        if not answer.is_success:
            refusal = NotThere if answer.status_code == 404 else AirflowRefused
            raise refusal(f"{verb} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def _log_in(self) -> None:
        credentials = {"username": self.login, "password": self.password}
        answer = self._client.post("/auth/token", json=credentials)
        if not answer.is_success:
            raise AirflowRefused(f"the login was refused: {answer.status_code} {answer.text[:200]}")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _log_line(line: str | Mapping[str, Any]) -> str:
    if isinstance(line, str):
        return line
    text = f"{line.get('timestamp') or ''} {line.get('level', '')} {line.get('event', '')}".strip()
    if "retryable" in line:
        text += f" retryable={line['retryable']}"
    details = line.get("error_detail") or []
    return "\n".join([text, *(f"{each['exc_type']}: {each['exc_value']}" for each in details)])
