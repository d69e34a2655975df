"""The rates of one model as a table."""

from collections.abc import Mapping

from rich.table import Table

from raysafe.evaluation.metrics import Rate


def rates_table(title: str, metrics: Mapping[str, Rate]) -> Table:
    """Every metric with its 95 % interval and n."""
    table = Table(title=title)
    for column in ("metric", "value", "95 % interval", "n"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, rate in sorted(metrics.items(), key=lambda item: _order(item[0])):
        table.add_row(name, f"{rate.value:.3f}", f"{rate.low:.3f} – {rate.high:.3f}", str(rate.n))
    return table


def _order(name: str) -> tuple[bool, str, int]:
    """Aggregates before the suites' variants, variants by number."""
    head, _, tail = name.rpartition("_")
    variant = tail.isdigit()
    return name.startswith("asr_"), head if variant else name, int(tail) if variant else -1
