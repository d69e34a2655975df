"""MLflow's shared views: what its page of runs keeps as an experiment's tag, and the links that open it (3.17).

A tag `mlflow.sharedViewState.KEY` holds a name and the page's whole state; `viewStateShareKey=KEY` in the address opens it.
With any filter or order in the address beside it the page ignores the view.
"""

import json
import zlib
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

from raysafe.tracking.base import Chart, Column, Refused, View

TAG = "mlflow.sharedViewState."
MOST_CHARACTERS = 20_000
"""Of an experiment's tag."""
PLAIN_CHARACTERS = 4_000
"""A longer state is packed; a short one stays readable."""
MOST_RUNS = 100
"""MLflow's page draws no more lines in one chart."""
_TYPES = {"parallel": "PARALLEL", "scatter": "SCATTER", "contour": "CONTOUR", "lines": "LINE", "bars": "BAR"}

_WIDTHS = {"param": 100, "metric": 150}
_OTHER_CHARTS = {
    "trial": ("eval", "train", "seconds", "Model metrics", "System metrics"),
    "stage": ("selector", "rank", "Model metrics", "System metrics"),
    "sweep": ("Model metrics",),
}
"""Sections, by the beginnings of metrics' names, into which the page puts a chart for every metric: folded at first."""
_LINES = {
    "lineSmoothness": 0,
    "useGlobalLineSmoothing": True,
    "xAxisKey": "step",
    "useGlobalXaxisKey": True,
    "selectedXAxisMetricKey": "",
    "scaleType": "linear",
    "xAxisScaleType": "linear",
    "range": {},
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
}
"""Without them the page smooths the curves."""


def view_link(server: str, experiment_id: str, key: str) -> str:
    """The address at which a server (`http://host:port`) opens a view of an experiment, on the pages for training."""
    query = urlencode({"viewStateShareKey": key, "compareRunsMode": "CHART", "workflowType": "machine_learning"})
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def runs_link(server: str, experiment_id: str) -> str:
    """The address at which a server shows an experiment's runs."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


def view_tag(view: View, time_ms: int) -> tuple[str, str]:
    """Name and text of the experiment's tag that keeps a view. Raises Refused if it is too long for MLflow."""
    state = json.dumps(page_state(view), separators=(",", ":"))
    if len(state) > PLAIN_CHARACTERS:
        state = "deflate;" + b64encode(zlib.compress(state.encode(), 9)).decode()
    text = json.dumps({"name": view.name, "createdAt": time_ms, "updatedAt": time_ms, "state": state}, separators=(",", ":"))
    if len(text) > MOST_CHARACTERS:
        raise Refused(f"The view {view.name!r} takes {len(text)} characters, and MLflow keeps {MOST_CHARACTERS}.")
    return TAG + view.key, text


def page_state(view: View) -> dict[str, Any]:
    """The state of MLflow's page of runs."""
    section = f"{view.key}-charts"
    return {
        "searchFilter": _filter(view),
        "orderByKey": _key(view.order) if view.order else "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": ["attributes.`Run Name`", *map(_key, view.columns)],
        "columnOrder": ["attributes.`Run Name`", *map(_key, view.columns)],
        "columnWidths": {_key(column): _WIDTHS[column.kind] for column in view.columns} | {"attributes.`Run Name`": 280},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOW_ALL",
        "runsVisibilityMap": {},
        "runListHidden": True,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": False,
        "hideEmptyCharts": False,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "chartsSearchFilter": "",
        "compareRunSections": [_section(section, view.name, len(view.charts)), *map(_folded, _OTHER_CHARTS[view.kind])],
        "compareRunCharts": [_card(chart, f"{view.key}-{place}", section) for place, chart in enumerate(view.charts)],
    }


def _section(uuid: str, name: str, charts: int) -> dict[str, Any]:
    large = charts == 1
    return {
        "uuid": uuid,
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 1 if large else 2,
        "cardHeight": 500 if large else 360,
    }


def _folded(name: str) -> dict[str, Any]:
    return {"uuid": f"{name}-folded", "name": name, "display": False, "isReordered": True, "deleted": False, "isGenerated": True}


def _filter(view: View) -> str:
    stage = f" and tags.`raysafe.stage` = '{view.stage}'" if view.stage else ""
    evaluation = f" and tags.`raysafe.evaluation` = '{view.evaluation}'" if view.evaluation else ""
    return f"tags.`raysafe.kind` = '{view.kind}'{stage}{evaluation}"


def _key(column: Column) -> str:
    return f"{column.kind}s.`{column.name}`"


def _card(chart: Chart, uuid: str, section: str) -> dict[str, Any]:
    card = {
        "uuid": uuid,
        "type": _TYPES[chart.kind],
        "runsCountToCompare": MOST_RUNS,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
    }
    if chart.kind == "parallel":
        card |= {
            "selectedParams": [axis.name for axis in chart.axes if axis.kind == "param"],
            "selectedMetrics": [axis.name for axis in chart.axes if axis.kind == "metric"],
            "showAllRuns": True,
        }
    elif chart.kind in ("lines", "bars"):
        card |= {"metricKey": chart.axes[0].name} | (_LINES if chart.kind == "lines" else {})
    else:
        card |= {letter + "axis": _axis(axis) for letter, axis in zip("xyz", chart.axes, strict=False)}
    return card


def _axis(column: Column) -> dict[str, str]:
    return {"key": column.name, "type": column.kind.upper()}
