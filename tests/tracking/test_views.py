"""The text that MLflow's page is given; tests/browser shows that it opens."""

import base64
import json
import zlib

import pytest

from raysafe.artifacts import fingerprint
from raysafe.tracking import Chart, Column, Refused, View
from raysafe.tracking.views import MOST_CHARACTERS, page_state, view_link, view_tag

GAMMA, SAFETY = Column("param", "gamma"), Column("metric", "eval/safety_score")


def view(charts: int = 1) -> View:
    return View("compare", "γ", "trial", (GAMMA, SAFETY), tuple(Chart("contour", (GAMMA, GAMMA, SAFETY)) for _ in range(charts)))


def state_in(text: str) -> dict:
    state = json.loads(text)["state"]
    packed = state.removeprefix("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed)) if packed != state else state)


@pytest.mark.parametrize("charts", [1, 30])
def test_the_state_is_read_back_however_long(charts: int) -> None:
    name, text = view_tag(view(charts), 5)
    assert name == "mlflow.sharedViewState.compare" and state_in(text) == page_state(view(charts))
    assert ("deflate;" in text) == (charts == 30) and len(text) <= MOST_CHARACTERS


def test_a_view_that_mlflow_could_not_keep_is_refused() -> None:
    columns = tuple(Column("param", fingerprint(place)) for place in range(4000))
    with pytest.raises(Refused, match="MLflow keeps 20000"):
        view_tag(View("long", "Long", "trial", columns, ()), 5)


def test_axes_say_whether_they_are_settings_or_metrics() -> None:
    card = page_state(view())["compareRunCharts"][0]
    assert card["xaxis"] == {"key": "gamma", "type": "PARAM"} and card["zaxis"] == {"key": "eval/safety_score", "type": "METRIC"}


def test_a_view_of_a_stage_shows_that_stage_only() -> None:
    ranked = View("s", "S", "stage", (), (), stage="rank")
    assert page_state(ranked)["searchFilter"] == "tags.`raysafe.kind` = 'stage' and tags.`raysafe.stage` = 'rank'"


def test_the_link_names_the_view_and_nothing_that_would_hide_it() -> None:
    link = view_link("http://127.0.0.1:5000/", "7", "compare")
    query = "viewStateShareKey=compare&compareRunsMode=CHART&workflowType=machine_learning"
    assert link == f"http://127.0.0.1:5000/#/experiments/7/runs?{query}"
