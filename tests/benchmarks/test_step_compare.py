"""The step benchmark as a whole, on a tiny shape."""

import pytest
from stepbench import compare as module
from stepbench.compare import Run, compare

RUN = Run("tiny", steps=2, threads=1, seed=0, text=None)


def test_it_gives_seconds_operations_and_floors_of_every_way():
    result = compare(RUN, "wdoor", ("published", "ours"), memory=False)
    published, ours = (result["ways"][way] for way in ("published", "ours"))
    assert published["first_flops"] > ours["first_flops"] > 0
    assert len(ours["seconds"]) == 2 and 0 < ours["floor_share"] < 1
    assert result["differences"]["published"] < 2e-5  # as in test_step_ways


def test_a_step_that_computes_something_else_is_not_timed(monkeypatch):
    honest = module.build

    def build(way, *rest):
        one = honest(way, *rest)
        if way == "published":
            one.step = lambda number, step=one.step: 1.01 * step(number)
        return one

    monkeypatch.setattr(module, "build", build)
    with pytest.raises(SystemExit, match="the first loss of published differs from ours by 9.9"):
        compare(RUN, "door", ("published", "ours"), memory=False)


def test_memory_is_measured_above_what_was_there_before():
    found = module.memory_of(RUN, "door", "ours")
    assert found["step"] == found["peak"] - found["before"] > 0
