"""What `raysafe ui` opens, in a real browser: on our own server over sqlite, and on a plain MLflow server over PostgreSQL."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

import pytest
from recorded import FIGURES, PROMPT, SAID, SETTINGS, record
from servers import mlflow_server

from raysafe.tracking import MlflowTracker, store_uri
from raysafe.tracking.comparison import views_of
from raysafe.tracking.links import comparison_link
from raysafe.tracking.stores import sqlite_path

TRIALS = 8
SEEN_MS = 60_000
"""How long a page may take until what is looked for is there."""
EXPECTED = ("users/current", "assistant/")
"""What MLflow's pages ask for, and our server has not got: who is there, and the assistant."""


@dataclass(frozen=True)
class Pages:
    """A server with a recorded sweep on it: its address, the printed link, and ids of runs by what they are."""

    address: str
    link: str
    tracker: MlflowTracker

    def run(self, kind, name=None):
        """The id of a run."""
        query = f"tags.`raysafe.kind` = '{kind}'" + (f" and attributes.run_name = '{name}'" if name else "")
        return self.tracker._client.search_runs([self.tracker._experiment_id], query)[0].info.run_id

    def artifact(self, run, path):
        """The address of an artifact's page."""
        return f"{self.address}/#/experiments/{self.tracker._experiment_id}/runs/{run}/artifacts/{path}"


def over_sqlite(storage):
    """Our own server, with a store that was there before."""
    tracker = MlflowTracker(store_uri(storage), "recorded")
    record(tracker, storage)
    with mlflow_server(store_uri(storage), storage, ours=True) as server:
        yield Pages(server.address, comparison_link(store_uri(storage), "recorded", server.address, 60.0), tracker)


def over_postgres(storage, server):
    """A server as people run one, told by its address."""
    tracker = MlflowTracker(server.address, "recorded")
    record(tracker, storage)
    yield Pages(server.address, comparison_link(server.address, "recorded", patience_s=60.0), tracker)


@pytest.fixture(scope="module", params=["sqlite", "server"])
def pages(request, chromium, tmp_path_factory):
    storage = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield from over_sqlite(storage)
    else:
        yield from over_postgres(storage, request.getfixturevalue("served"))


OURS = pytest.mark.parametrize("pages", ["sqlite"], indirect=True)
"""The pages are the same on both; one is enough for what doesn't depend on the server."""


@pytest.fixture(scope="module")
def visitor(chromium, pages):
    """Keeps the pages' scripts, which take seconds to fetch and read, from one test to the next."""
    context = chromium.new_context(viewport={"width": 2400, "height": 1000})
    yield context
    context.close()


@pytest.fixture
def page(visitor):
    """A visitor's first page, as far as the pages remember; at the end nothing must have gone wrong in it."""
    page, wrong = visitor.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    page.set_default_timeout(SEEN_MS)
    yield page
    page.evaluate("localStorage.clear()")
    page.close()
    visitor.clear_cookies()
    assert [what for what in wrong if not any(known in what for known in EXPECTED)] == []


def axes(page):
    """Names of the axes of the parallel coordinates."""
    page.wait_for_selector(".parcoords .dimension .label")
    return page.eval_on_selector_all(".parcoords .dimension .label", "found => found.map(one => one.textContent)")


def other_view(pages, key):
    return pages.link.replace("viewStateShareKey=compare", f"viewStateShareKey={key}")


def drawn(page, title):
    """Wait for a chart of that title with something in it."""
    card = page.locator('[data-testid="experiment-view-compare-runs-card"]').filter(has_text=title).first
    card.scroll_into_view_if_needed()
    card.locator("svg .trace, svg .contour").first.wait_for(state="attached")


def test_the_link_opens_exactly_what_was_swept_against_the_headline_metrics(page, pages):
    asked = []
    page.on("response", lambda answer: asked.append(answer) if answer.url.endswith("runs/search") else None)
    page.goto(pages.link)
    assert sorted(axes(page)) == sorted([*SETTINGS, *(f"eval/{name}" for name in FIGURES)])
    kinds = [tag["value"] for run in asked[-1].json()["runs"] for tag in run["data"]["tags"] if tag["key"] == "raysafe.kind"]
    assert kinds == ["trial"] * TRIALS
    assert page.get_by_text("Model training").first.is_visible()


@OURS
def test_the_table_has_the_swept_settings_and_the_headline_metrics_and_no_run_is_hidden(page, pages):
    page.goto(pages.link.replace("compareRunsMode=CHART&", ""))
    page.wait_for_selector(f'.ag-header-cell[col-id="metrics.`eval/{FIGURES[-1]}`"]')
    shown = page.eval_on_selector_all(".ag-header-cell", "found => found.map(one => one.getAttribute('col-id'))")
    compared = [name for name in shown if name.startswith(("params", "metrics", "tags"))]
    assert sorted(compared) == sorted(
        [*(f"params.`{name}`" for name in SETTINGS), *(f"metrics.`eval/{name}`" for name in FIGURES)]
    )
    assert page.get_by_text("γ=0.1 p=50 sft seed 0").first.is_visible(), "trials stand beside each other, not below the sweep"
    assert page.locator('.ag-center-cols-container [role="row"]').count() == TRIALS


@OURS
@pytest.mark.parametrize(
    ("view", "charts"),
    [
        ("safety-utility", ["eval/utility vs. eval/safety_score"]),
        ("gamma-p", ["gamma vs. percent vs. eval/safety_score"]),
        ("training", ["train/loss", "train/align_loss"]),
        ("selections", ["selector/auc", "selector/safe_loss"]),
    ],
)
def test_every_other_view_opens_and_draws(page, pages, view, charts):
    page.goto(other_view(pages, view))
    for chart in charts:
        drawn(page, chart)


def test_a_trials_selection_and_verdicts_are_tables_in_its_own_pages(page, pages):
    run = pages.run("trial", "γ=0.1 p=50 sft seed 0")
    page.goto(pages.artifact(run, "tables/selection.json"))
    page.get_by_text("answer 19").first.wait_for()
    assert page.get_by_role("columnheader", name="score").first.is_visible()
    page.goto("about:blank")
    page.goto(pages.artifact(run, "tables/verdicts.json"))
    page.get_by_text(SAID).first.wait_for()
    assert page.get_by_text(PROMPT).first.is_visible() and page.get_by_text("not complied").first.is_visible()


def test_the_report_opens_in_the_sweeps_run(page, pages):
    page.goto(pages.artifact(pages.run("sweep"), "report.html"))
    page.frame_locator("iframe").get_by_role("heading", name="What moves safety").wait_for()


@OURS
def test_a_plain_visit_to_our_server_opens_on_the_comparison_and_on_no_assistant(page, pages):
    page.goto(f"{pages.address}/#/experiments/{pages.tracker._experiment_id}")
    assert sorted(axes(page)) == sorted([*SETTINGS, *(f"eval/{name}" for name in FIGURES)])
    assert "workflowType=machine_learning" in page.url and not page.locator(".assistant-fab-label").is_visible()
    assert page.get_by_placeholder("Ask a question").count() == 0
    page.get_by_role("button", name="Exit shared view").click()
    page.get_by_role("button", name="Exit shared view").wait_for(state="detached")
    page.wait_for_timeout(1000)
    assert "viewStateShareKey" not in page.url, "who leaves the comparison isn't brought back"


def multiplied(database, run, experiment, times):
    """Copies of a run in another experiment, made in the database, since to tell them would take a minute."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for _ in range(times):
            new = {"run_uuid": uuid4().hex, "experiment_id": experiment}
            for table in ("runs", "params", "tags", "metrics", "latest_metrics"):
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                picked = [
                    f"'{new[name]}'" if name in new and (name == "run_uuid" or table == "runs") else name for name in columns
                ]
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(picked)} FROM {table} WHERE run_uuid = ?",
                    (run,),
                )


@OURS
def test_with_five_hundred_trials_the_link_opens_on_a_hundred(page, pages):
    uri, many = pages.tracker._uri, MlflowTracker(pages.tracker._uri, "many")
    for view in views_of(dict.fromkeys(SETTINGS, 2), [f"eval/{name}" for name in FIGURES]):
        many.view(view)
    multiplied(sqlite_path(uri), pages.run("trial", "γ=0.1 p=50 sft seed 0"), many._experiment_id, 500)
    asked = []
    page.on("response", lambda answer: asked.append(answer) if answer.url.endswith("runs/search") else None)
    page.goto(comparison_link(uri, "many", pages.address, 60.0))
    assert len(axes(page)) == len(SETTINGS) + len(FIGURES)
    assert len(asked[-1].json()["runs"]) == 100 and asked[-1].json()["next_page_token"]
