"""Questions to a judge, shared out among workers."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from raysafe.context import Context

Q = TypeVar("Q")
A = TypeVar("A")


def shared_out(items: Sequence[Q], work: Callable[[Sequence[Q]], Sequence[A]], context: Context) -> list[A]:
    """`work` on all items, each worker doing every world_size-th; all ranks get all results, in order."""
    mine = list(work(items[context.rank :: context.world_size]))
    done: list[A | None] = [None] * len(items)
    for rank, part in enumerate(context.gather(mine)):
        done[rank :: context.world_size] = part
    return done  # type: ignore[return-value]  # every place is filled
