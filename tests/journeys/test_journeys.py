"""Whole campaigns through a real scheduler, triggerer, gateway and PostgreSQL."""

import re
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from demo.airflow_api import AirflowRefused, Run
from sms.ledger.states import State
from tests.journeys.conftest import FIRST, NUMBER, STORY, LiveWorld, people

pytestmark = pytest.mark.journey


def test_a_campaign_is_sent_reported_and_balanced(world: LiveWorld) -> None:
    run = world.succeeded(world.trigger("plain"))

    assert all(world.states(run)[task] == {"success"} for task in STORY)
    [stem] = world.stems(run)
    assert world.renamed(stem) == 1
    world.wait_until_sent(stem, 40)

    collection = world.collected(stem)
    assert collection.state == "success"
    submission = world.stack.ledger.submissions.get(stem)
    assert submission.state is State.REPORTED
    assert submission.submitted_at
    left = max(submission.send_at, submission.submitted_at)
    assert submission.due_at == left + timedelta(days=1)
    summary = world.stack.ledger.runs.summary(f"{run.dag_id}/{run.run_id}")
    assert (summary.candidates, summary.audience, summary.sent) == (40, 40, 40)
    assert summary.balanced
    assert summary.outcomes.rows == 40


def test_clearing_a_whole_run_sends_nothing_again(world: LiveWorld) -> None:
    run = world.succeeded(world.trigger("again"))
    [stem] = world.stems(run)
    before = world.stack.ledger.submissions.get(stem)
    uploads = len(world.uploads(stem))

    world.stack.airflow.clear(run.dag_id, run.run_id, STORY, only_failed=False)
    again = world.succeeded(run)

    assert world.states(again)["submit"] == {"success"}
    assert world.renamed(stem) == 1
    assert len(world.uploads(stem)) == uploads
    after = world.stack.ledger.submissions.get(stem)
    assert (after.sha256, after.messages) == (before.sha256, before.messages)
    booked = [each.run_id for each in world.stack.airflow.runs("collect_delivery_report")]
    assert booked.count(f"ack__{stem}") == 1


def test_a_run_cleared_while_sending_sends_once(world: LiveWorld) -> None:
    world.turn("cleared", latency=0.3, lock_seconds=2)  # so that it is at work when it is cleared
    run = world.trigger("cleared")
    world.wait_until(lambda: bool(world.stems(run)), "its name")
    [stem] = world.stems(run)

    def cleared_once(happened: Callable[[], bool], what: str) -> None:
        world.wait_until(happened, what)
        world.stack.airflow.clear(run.dag_id, run.run_id, STORY, only_failed=False)

    cleared_once(lambda: bool(world.uploads(stem)), "an upload")
    cleared_once(lambda: world.renamed(stem) == 1, "the rename")
    world.turn("cleared")

    world.succeeded(run)
    assert world.renamed(stem) == 1
    assert world.stems(run) == [stem]
    world.wait_until_sent(stem, 3)


def test_a_campaign_triggered_twice_at_once_is_sent_once(world: LiveWorld) -> None:
    runs = [world.trigger("twice"), world.trigger("twice")]

    ended = [world.finished(run) for run in runs]

    assert sorted(run.state for run in ended) == ["failed", "success"]
    [sent] = [run for run in ended if run.state == "success"]
    [aside] = [run for run in ended if run.state == "failed"]
    first = f"{sent.dag_id}/{sent.run_id} was first"
    world.failed_for_good(aside, "plan", f"twice was triggered twice within a minute: {first}")
    assert world.stems(aside) == []
    [stem] = world.stems(sent)
    assert world.renamed(stem) == 1


def test_a_backfill_over_old_days_is_refused(world: LiveWorld) -> None:
    now = world.stack.now()
    with pytest.raises(AirflowRefused, match="does not allow backfill runs"):
        world.stack.airflow.backfill("send__daily", now - timedelta(days=9), now)

    assert world.stack.airflow.runs("send__daily") == []


def test_a_rejected_file_fails_by_name_without_retry(world: LiveWorld) -> None:
    world.turn("refused", reject=True)
    run = world.finished(world.trigger("refused"))

    assert run.state == "failed"
    [stem] = world.stems(run)
    rejected = f"the gateway rejected {stem}: no SMS was sent of this file"
    log = world.failed_for_good(run, "submit", rejected)
    assert "our own check finds no fault in the file: ask support@mtarget.fr" in log
    assert world.stack.ledger.submissions.get(stem).state is State.REJECTED
    assert world.states(run)["schedule_collection"] == {"skipped"}
    assert world.states(run)["summarize"] == {"upstream_failed"}
    assert world.journal("sent", stem=stem) == []


def test_a_late_report_is_awaited(world: LiveWorld) -> None:
    world.turn("late", ack_late_hours=9)
    run = world.succeeded(world.trigger("late"))
    [stem] = world.stems(run)
    world.until_missed(stem)
    collection = world.collected(stem, late=timedelta(hours=9))

    assert collection.state == "success"
    assert world.stack.ledger.submissions.get(stem).state is State.REPORTED
    assert world.stack.ledger.submissions.reconcile(stem).balanced


def test_a_large_audience_is_sent_once_in_parts(world: LiveWorld) -> None:
    run = world.succeeded(world.trigger("in_parts"))

    stems = world.stems(run)
    assert [stem[-3:] for stem in stems] == ["p01", "p02", "p03"]
    assert [len(world.tasks(run)[task]) for task in ("submit", "schedule_collection")] == [1, 3]
    for stem in stems:
        world.wait_until_sent(stem, world.stack.ledger.submissions.get(stem).messages or 0)
    sent = [entry["msisdn"] for stem in stems for entry in world.journal("sent", stem=stem)]
    assert len(sent) == len(set(sent)) == 10
    assert [world.renamed(stem) for stem in stems] == [1, 1, 1]
    for stem in stems:
        assert world.collected(stem).state == "success"


def test_a_rejected_part_holds_only_the_parts_after_it(
    world: LiveWorld,
) -> None:
    world.turn("held", lock_seconds=2)
    run = world.trigger("held")
    stems = world.parts(run)
    world.wait_until_renamed(stems[1])
    world.turn("held", reject=True)
    run = world.finished(run)

    assert run.state == "failed"
    states = [world.stack.ledger.submissions.get(stem).state for stem in stems]
    assert states[1:] == [State.REJECTED, State.CANCELLED]
    assert states[0] in (State.ACCEPTED, State.REPORTED)
    assert [world.renamed(stem) for stem in stems] == [1, 1, 0]
    assert not world.at_the_gateway(f"{stems[2]}.tmp")
    log = world.log(run, "submit")
    assert f"Held back and called off: {stems[2]}" in log
    assert f"Already at the gateway: {stems[0]}" in log
    assert world.collected(stems[0]).state == "success"


def test_the_kill_switch_stops_every_rename_until_removed(world: LiveWorld) -> None:
    with world.alone():
        world.stack.airflow.set_variable("sms_halt", "somebody pulled it")
        try:
            run = world.finished(world.trigger("halted"))
        finally:
            world.stack.airflow.delete_variable("sms_halt")

    [stem] = world.stems(run)
    world.failed_for_good(run, "submit", "the Airflow variable sms_halt halts all sending")
    assert world.renamed(stem) == 0

    assert world.states(run)["schedule_collection"] == {"failed"}

    world.stack.airflow.clear(run.dag_id, run.run_id)
    world.succeeded(run)
    assert world.renamed(stem) == 1
    assert world.collected(stem).state == "success"


def test_a_run_marked_failed_before_its_upload_sends_nothing(world: LiveWorld) -> None:
    run = world.trigger("marked", send_at=(world.stack.now() + timedelta(days=9)).isoformat())
    world.wait_until(lambda: world.states(run)["await_hour"] == {"deferred"}, "the wait")

    world.stack.airflow.mark_failed(run.dag_id, run.run_id)

    world.wait_until(lambda: world.states(run)["await_hour"] == {"failed"}, "the wait's end")
    assert world.states(run)["submit"] == {"skipped"}
    [stem] = world.stems(run)
    called_off = world.stack.airflow.trigger(
        "settle_submission", {"stem": stem, "answer": "call_off"}
    )
    world.succeeded(called_off)
    assert world.stack.ledger.submissions.get(stem).state is State.CANCELLED
    assert world.uploads(stem) == []


def test_a_campaign_with_approval_is_sent_only_when_approved(world: LiveWorld) -> None:
    asking = {who: world.trigger(f"{who}_asks") for who in ("yes", "no")}
    questions = {who: world.question(run) for who, run in asking.items()}
    for who, option in (("yes", 0), ("no", 1)):
        world.answer(asking[who], questions[who]["options"][option])

    sent = world.succeeded(asking["yes"])
    [stem] = world.stems(sent)
    assert world.renamed(stem) == 1
    assert questions["yes"]["subject"] == "Send yes_asks to 3 people?"
    assert "| **written to** | **3** |" in questions["yes"]["body"]
    assert "> Bonjour Léa, à samedi ! STOP 36180" in questions["yes"]["body"]
    assert not NUMBER.search(questions["yes"]["body"])
    approved = world.stack.ledger.runs.get(f"{sent.dag_id}/{sent.run_id}")
    assert approved.approved_by == world.stack.airflow.login

    refused = world.finished(asking["no"])
    assert world.states(refused)["approve"] == {"skipped"}
    require_called_off(world, refused)


def test_an_unanswered_approval_request_is_a_refusal(world: LiveWorld) -> None:
    run = world.trigger("silence_asks")
    world.question(run)
    world.let_time_run_out(run)
    unanswered = world.finished(run)

    assert (unanswered.state, world.states(unanswered)["approve"]) == ("failed", {"failed"})
    assert "silence_asks was not approved in time" in world.log(unanswered, "approve")
    require_called_off(world, unanswered)


def require_called_off(world: LiveWorld, run: Run) -> None:
    """A run's file was cancelled, and never went up."""
    [stem] = world.stems(run)
    assert world.stack.ledger.submissions.get(stem).state is State.CANCELLED
    assert world.uploads(stem) == []


def test_a_lost_file_is_resent_under_another_name(world: LiveWorld) -> None:
    stem = world.unknown("resent")

    settled = world.succeeded(
        world.stack.airflow.trigger("settle_submission", {"stem": stem, "answer": "never_arrived"})
    )

    assert world.states(settled) == {"settle": {"success"}, "resend": {"success"}}
    assert world.stack.ledger.submissions.get(stem).state is State.CANCELLED
    again = world.ended("send__resent", f"again__{stem}")
    assert again.state == "success"
    [new] = world.stems(again)
    assert new != stem
    assert (world.renamed(stem), world.renamed(new)) == (0, 1)
    world.wait_until_sent(new, 2)  # a trial as before, and not all three
    # Asked once more, it refuses: the file is not unknown any more.
    twice = world.finished(
        world.stack.airflow.trigger("settle_submission", {"stem": stem, "answer": "never_arrived"})
    )
    assert twice.state == "failed"
    assert "not unknown: nothing to settle" in world.log(twice, "settle")


def test_a_stop_reply_excludes_its_sender_from_later_runs(world: LiveWorld) -> None:
    world.turn("answers", stop=0.5)
    first = world.succeeded(world.trigger("answers"))
    [stem] = world.stems(first)
    ours = FIRST + np.array(people("answers", 40))
    world.collected(stem)

    assert world.replies().state == "success"
    before = len(world.stack.ledger.stop_list.opted_out(ours))
    second = world.succeeded(world.trigger("answers", dry_run=True))
    since = len(
        world.stack.ledger.stop_list.opted_out(ours)
    )  # other journeys bring STOPs home, too

    assert 0 < before <= since < 40
    summary = world.stack.ledger.runs.summary(f"{second.dag_id}/{second.run_id}")
    assert before <= summary.excluded["opted_out"] <= since
    assert summary.audience == 40 - summary.excluded["opted_out"]


def test_a_dry_run_makes_the_files_and_sends_nothing(world: LiveWorld) -> None:
    run = world.succeeded(world.trigger("dry", dry_run=True, limit=20))

    assert world.states(run)["review"] == {"success"}
    assert world.states(run)["submit"] == {"skipped"}
    assert world.uploads_of("dry") == []
    folder = world.stack.folder / "runs" / run.dag_id
    [stem] = world.stems(run)
    assert list(folder.rglob(f"05_{stem}.csv"))
    assert world.stack.ledger.submissions.get(stem).state is State.CANCELLED
    assert world.stack.ledger.submissions.get(stem).messages == 20


def test_bad_input_fails_with_a_sentence_and_sends_nothing(world: LiveWorld) -> None:
    told = {
        "column": ("screen", "uses {{ surname }}, but the query of"),
        "too_many": ("review", "3 recipients are more than max_recipients, 2"),
        "table": ("extract", 'relation "nothing_like_this" does not exist'),
        "nobody": ("screen", "leaves no recipient"),
        "cast": ("extract", "invalid input syntax"),
        "elsewhere": ("extract", "there is no connection elsewhere: create it"),
    }
    runs = {name: world.trigger(name) for name in told}

    for name, (task, sentence) in told.items():
        run = world.finished(runs[name])
        log = world.failed_for_good(run, task, sentence)
        assert "Traceback" not in log, name
        assert world.uploads_of(name) == []


def test_an_invalid_hour_is_refused_with_an_example(world: LiveWorld) -> None:
    run = world.finished(world.trigger("someday", send_at="next week"))

    world.failed_for_good(run, "plan", "write a date and an hour such as")


def test_a_misspelt_parameter_sends_nothing(world: LiveWorld) -> None:
    run = world.finished(world.trigger("misspelt", dryrun=True))

    misspelt = "dryrun is no parameter of a campaign's run, did you mean dry_run?"
    world.failed_for_good(run, "plan", misspelt)


def test_a_broken_folder_is_reported_and_hides_no_other(world: LiveWorld) -> None:
    [error] = world.stack.airflow.import_errors()

    assert re.search(r"broken/campaign\.yaml, line 4: sender: 'Spring Sale!' is no sender", error)
    dag_ids = world.stack.airflow.dag_ids()
    assert "send__broken" not in dag_ids
    assert "send__plain" in dag_ids
