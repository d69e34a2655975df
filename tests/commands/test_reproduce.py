"""What `raysafe reproduce` works out from a run's record; tests/cluster has it run a trial again."""

import dataclasses
import shutil
from io import StringIO

import pytest
import yaml
from rich.console import Console

from raysafe.artifacts import MemoryStore
from raysafe.commands.reproduce import differing, score_table, verdict
from raysafe.config.sweeps import load_sweep
from raysafe.errors import DataError
from raysafe.sweep.reproducing import compared, configuration, fresh_folder, selections_compared
from raysafe.tracking.recorded import RecordedRun

THEN = {"eval/win_rate": 0.5, "eval/win_rate_low": 0.4, "eval/win_rate_high": 0.6, "eval/utility": 1.0, "train/loss": 2.0}


@pytest.fixture
def record(finished, tmp_path):
    """What a store holds of the sweep's first trial."""
    for source in (finished.folder / "sweep.yaml", finished.folder / "trials" / finished.trials[0] / "config.yaml"):
        shutil.copy(source, tmp_path)
    return RecordedRun("0123456789ab", "small", finished.trials[0], "FINISHED", THEN, tmp_path)


def drawn(lines):
    """The table as 80 columns show it."""
    console = Console(file=StringIO(), width=80)
    console.print(score_table(lines))
    return console.file.getvalue()


def edit(path, **changes):
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_the_configuration_is_that_of_the_trial_with_the_resources_of_its_sweep(record, finished):
    edit(record.files / "sweep.yaml", resources={"workers": 2, "groups": 3})
    config = configuration(record)
    (plan,) = config.trials
    assert plan.config == load_sweep(finished.folder / "sweep.yaml").trials[0].config
    assert (config.name, config.resources.workers) == ("small", 2)


def test_nothing_has_changed_since(record):
    assert differing(configuration(record), MemoryStore(), pytest.fail) == []


def test_changed_rows_and_versions_are_told(record):
    versions = yaml.safe_load((record.files / "config.yaml").read_text())["versions"]
    edit(record.files / "config.yaml", versions=versions | {"torch": "1.0"}, datasets={"safe": {"rows.jsonl": "0123"}})
    data, torch = differing(configuration(record), MemoryStore(), pytest.fail)
    assert "the rows of safe have changed" in data and "version of torch" in torch


def test_a_record_of_an_earlier_version_takes_its_facts_from_its_sweeps_file(record):
    path = record.files / "config.yaml"
    own = yaml.safe_load(path.read_text())
    later = ("name", "fingerprint", "versions", "machine", "datasets", "models", "relative_to", "evaluations")
    path.write_text(yaml.safe_dump({key: value for key, value in own.items() if key not in later}))
    edit(record.files / "sweep.yaml", datasets={"safe": {"rows.jsonl": "0123"}})
    (data,) = differing(configuration(record), MemoryStore(), pytest.fail)
    assert "the rows of safe have changed" in data


def test_a_run_without_its_configuration_is_refused(record):
    (record.files / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"has no config\.yaml among its files"):
        configuration(record)


def test_scores_lie_within_each_others_intervals_or_not():
    now = {"win_rate": 0.55, "win_rate_low": 0.45, "win_rate_high": 0.65, "utility": 1.0, "over_refusal": 0.1}
    near, same = compared(THEN, now)
    assert (near.name, near.equal, near.within) == ("win_rate", False, True)
    assert (same.name, same.equal, same.within) == ("utility", True, True)
    far = dataclasses.replace(near, now=0.7, now_low=0.65, now_high=0.75)
    one_sided = dataclasses.replace(near, now=0.55, now_low=0.52, now_high=0.58)
    assert far.within is False and one_sided.within is False
    assert dataclasses.replace(near, then_low=None).within is None
    assert verdict([near, same]) == "1 of 2 scores are equal, all lie within each other's intervals"
    assert verdict([far, same]) == "1 of 2 scores are equal, 1 lie outside each other's intervals"
    said = drawn([near, far, dataclasses.replace(same, name="asr_prefill_25")])
    assert "0.500 [.40, .60]" in said and "within" in said and "outside" in said and "equal" in said and "…" not in said


def test_a_run_without_scores_says_so():
    assert compared({"train/loss": 2.0}, {"win_rate": 0.5}) == [] and "no scores" in verdict([])


def test_every_attempt_has_a_folder_of_its_own(tmp_path):
    first = fresh_folder(tmp_path, "0123456789ab")
    assert first == tmp_path / "reproduced" / "01234567-1"
    first.mkdir(parents=True)
    assert fresh_folder(tmp_path, "0123456789ab").name == "01234567-2"


def test_selections_are_compared_by_what_their_rows_say(finished, tmp_path):
    paths = [finished.folder / "trials" / name / "selection.parquet" for name in finished.trials]
    assert selections_compared(paths[0], paths[0]) == {"only_then": 0, "only_now": 0, "both": 26}
    other = selections_compared(paths[0], paths[2])
    assert other["only_then"] == other["only_now"] > 0 and other["both"] + other["only_now"] == 26
    assert selections_compared(tmp_path / "none", paths[0]) is None
