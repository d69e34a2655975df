"""Work shared out among workers: every rank calls these, does its share, and gets what all have found."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from raysafe.context import Context

Q = TypeVar("Q")
A = TypeVar("A")
K = TypeVar("K", bound=Hashable)


def shared_out(items: Sequence[Q], work: Callable[[Sequence[Q]], Sequence[A]], context: Context) -> list[A]:
    """`work` on all items, each worker doing every world_size-th; all ranks get all results, in order."""
    mine = list(work(items[context.rank :: context.world_size]))
    done: list[A | None] = [None] * len(items)
    for rank, part in enumerate(context.gather(mine)):
        done[rank :: context.world_size] = part
    return done  # type: ignore[return-value]  # every place is filled


def in_turn(batches: Sequence[list[K]], work: Callable[[list[K]], Sequence[A]], context: Context) -> dict[K, A]:
    """`work` on batches of different things, in turn over the workers; what came of each. Raises StageStopped between two
    batches if the stage is to end."""
    mine: dict[K, A] = {}
    for first in range(0, len(batches), context.world_size):
        context.check_stop()  # all ranks equally often, whoever has a batch in the last round
        batch = next(iter(batches[first : first + context.world_size][context.rank :]), [])
        mine |= dict(zip(batch, work(batch), strict=True)) if batch else {}
    return {key: found for part in context.gather(mine) for key, found in part.items()}
