"""Workers as threads of one process: each has a context, and they wait for each other where real ones would."""

import threading

import torch

from raysafe.context import Context


class Meeting:
    """Where they wait; what each brought is there for all."""

    def __init__(self, count):
        self.barrier, self.brought = threading.Barrier(count, timeout=60), [None] * count

    def exchange(self, rank, value):
        self.brought[rank] = value
        self.barrier.wait()
        found = list(self.brought)
        self.barrier.wait()
        return found


class Together(Context):
    """Rank `rank` of some, through a meeting."""

    def __init__(self, rank, count, meeting):
        super().__init__(lambda step, row: False, torch.device("cpu"), rank, count)
        object.__setattr__(self, "meeting", meeting)

    def gather(self, value):
        return self.meeting.exchange(self.rank, value)

    def total(self, values):
        return [sum(parts) for parts in zip(*self.gather(values), strict=True)]

    def share(self, tensors):
        first = self.gather([tensor.detach().clone() for tensor in tensors])[0]
        for tensor, value in zip(tensors, first, strict=True):
            tensor.detach().copy_(value)

    def report(self, step, metrics):
        self.gather(None)


def on_ranks(count, work):
    """What `work(context)` gives on each rank; an error of any is raised."""
    meeting, results, errors = Meeting(count), [None] * count, []

    def run(rank):
        try:
            results[rank] = work(Together(rank, count, meeting))
        except BaseException as error:
            errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
