"""The run's graph, the trigger form and the approval, in a real browser."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.journeys.conftest import PREPARING, STORY, LiveWorld

# Nothing but the page under test is to be asked for.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PATIENCE = 600_000  # milliseconds, on a busy machine
pytestmark = pytest.mark.journey


@contextmanager
def browser(world: LiveWorld) -> Iterator[Page]:
    """A page of a browser far from Paris, logged in; where no Chromium is, a skip, but in CI."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        reason = "no Chromium is installed (Debian: chromium)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = chromium.new_page(base_url=world.stack.airflow.url, timezone_id="America/New_York")
        page.set_default_timeout(PATIENCE)
        page.goto("/auth/login")
        page.fill("input[name=username]", world.stack.airflow.login)
        page.fill("input[name=password]", world.stack.airflow.password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=PATIENCE)
        yield page
        chromium.close()


def node(page: Page, task: str) -> Locator:
    """A task in the graph; a mapped one has brackets after its name."""
    named = re.compile(rf"^{task}( \[.*\])?$")
    return page.locator(".react-flow__node").get_by_text(named).first


def test_the_graph_of_a_run_shows_its_tasks(world: LiveWorld) -> None:
    run = world.finished(world.trigger("graph", dry_run=True))

    with browser(world) as page:
        page.goto(f"/dags/{run.dag_id}/runs/{run.run_id}")
        page.get_by_label("Show Graph").click()
        for task in STORY:
            expect(node(page, task)).to_be_visible(timeout=PATIENCE)
        across = [node(page, task).bounding_box() for task in PREPARING]
    places = [box["x"] for box in across if box]
    assert places == sorted(places)
    assert len(places) == len(PREPARING)


def test_the_form_takes_paris_time_from_any_time_zone(world: LiveWorld) -> None:
    with browser(world) as page:
        page.goto("/dags/send__formal")
        page.get_by_role("button", name="Trigger").first.click()
        form = page.get_by_role("dialog")
        for told in ("A campaign of the journeys", "STOP 36180", "10:30, this campaign's own hour"):
            expect(form.get_by_text(told).first).to_be_visible(timeout=PATIENCE)

        form.locator("#element_day").fill("2027-12-24")
        form.locator("#element_hour input").first.fill("18:45")
        page.keyboard.press("Enter")
        form.locator("[id*=element_dry_run]").first.click()
        form.get_by_role("button", name="Trigger", exact=True).click()
        world.wait_until(lambda: bool(world.stack.airflow.runs("send__formal")), "the form's run")

    [run] = world.stack.airflow.runs("send__formal")
    world.succeeded(run)
    planned = world.stack.airflow.xcom(run.dag_id, run.run_id, "plan")
    assert planned["words"] == "Friday 24 December 2027 at 18:45 in Paris"
    assert [stem.split("-")[2:4] for stem in world.stems(run)] == [["20271224", "1845"]]


def test_an_operator_reads_the_review_and_approves(world: LiveWorld) -> None:
    run = world.trigger("browser_asks")
    world.question(run)

    with browser(world) as page:
        page.goto(f"/dags/{run.dag_id}/runs/{run.run_id}/tasks/approve/required_actions")
        for said in ("Send browser_asks to 3 people?", "candidates of the query", "STOP 36180"):
            expect(page.get_by_text(said).first).to_be_visible(timeout=PATIENCE)
        # A browser that closes at once takes an answer with it that has not left.
        with page.expect_response(lambda got: got.request.method == "PATCH") as answered:
            page.get_by_role("button", name=re.compile("^Send it")).click()
        assert answered.value.ok

    sent = world.succeeded(run)
    [stem] = world.stems(sent)
    assert world.renamed(stem) == 1
