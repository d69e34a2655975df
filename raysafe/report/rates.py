"""The rates of one model as a table."""

from collections.abc import Mapping

from rich.table import Table

from raysafe.evaluation.metrics import Rate
from raysafe.report.figures import unit_of


def rates_table(title: str, metrics: Mapping[str, Rate]) -> Table:
    """Every metric with its 95 % interval and n, but for readings at single depths, which are many."""
    table = Table(title=title)
    for column in ("metric", "value", "95 % interval", "n"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    shown = {name: rate for name, rate in metrics.items() if unit_of(name) == "share" or not name.rpartition("_")[2].isdigit()}
    for name, rate in sorted(shown.items(), key=lambda item: _order(item[0])):
        table.add_row(name, f"{rate.value:.3f}", f"{rate.low:.3f} – {rate.high:.3f}", str(rate.n))
    return table


def _order(name: str) -> tuple[bool, str, int]:
    """Aggregates before the suites' variants, variants by number."""
    head, _, tail = name.rpartition("_")
    variant = tail.isdigit()
    return name.startswith("asr_"), head if variant else name, int(tail) if variant else -1
