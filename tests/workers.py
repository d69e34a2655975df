"""Several workers of a stage in one process, a thread each: they gather as processes do, without the seconds that those take."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from raysafe.context import Context


class Board:
    """Where ranks leave what they gather, put there and read in step. Between that one rank works at a time: what belongs to a
    process, as random numbers and warnings do, is nobody else's meanwhile."""

    def __init__(self, count):
        self.left, self.step, self.turn = [None] * count, threading.Barrier(count), threading.Lock()

    def gather(self, rank, value):
        self.left[rank] = value
        self._in_step()
        found = list(self.left)
        self._in_step()
        return found

    def _in_step(self):
        self.turn.release()
        try:
            self.step.wait()
        finally:
            self.turn.acquire()


@dataclass(frozen=True)
class OneOfSeveral(Context):
    """A worker's context over a board in place of a process group."""

    board: Board | None = None

    def gather(self, value):
        return self.board.gather(self.rank, value)

    def total(self, values):
        return [sum(parts) for parts in zip(*self.gather(values), strict=True)]

    def report(self, step, metrics):
        self.barrier()


def on_workers(count, work):
    """`work(context)` on so many workers; what each returned, by rank. A worker that fails sets the others free."""
    board = Board(count)

    def run(rank):
        with board.turn:
            try:
                return work(OneOfSeveral(lambda step, row: False, torch.device("cpu"), rank, count, board=board))
            except BaseException:
                board.step.abort()
                raise

    with ThreadPoolExecutor(count) as pool:
        return [job.result() for job in [pool.submit(run, rank) for rank in range(count)]]
