"""Every example of CONTRIBUTING.md in a copy of the package: one file and its entry each, and one trial that uses all of them."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small import small_trial

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
ENTRIES = dict(re.findall(r"^```diff\n--- (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
(SECTIONS,) = (yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))

TRIAL = """
import json, sys
from pathlib import Path
from raysafe.artifacts import Store
from raysafe.config.sweeps import make_sweep
from raysafe.evaluation.metrics import flat_rates
from raysafe.report.figures import figures_of
from raysafe.report.page import write_page
from raysafe.report.summary import TrialRow, write_summary
from raysafe.report.table import markdown_table
from raysafe.trial import run_trial

folder = Path(sys.argv[1])
trial = make_sweep(json.loads(sys.stdin.read())).trials[0].config
result = run_trial(trial, Store(folder), folder / "trial")
rows = [TrialRow("000", "FINISHED", 0, {}, figures_of(flat_rates(result.metrics), result, {"epochs": 2}))]
write_summary(folder / "summary.csv", rows)
write_page(folder)
print(markdown_table(rows))
"""


def entered(text, entry):
    """The file with the entry in it: an import before the first of the package, a line of a table behind its first line."""
    lines, table = text.splitlines(keepends=True), None
    for line in entry.splitlines(keepends=True):
        if line.startswith(" "):
            table = lines.index(line[1:])
        elif line.startswith("+from "):
            lines.insert(next(place for place, other in enumerate(lines) if other.startswith("from raysafe.")), line[1:])
        else:
            lines.insert(table + 1, line[1:])
    return "".join(lines)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package with all examples in it."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "raysafe", root / "raysafe", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (root / name).exists()
        (root / name).write_text(text, encoding="utf-8")
    for name, entry in ENTRIES.items():
        (root / name).write_text(entered((root / name).read_text(encoding="utf-8"), entry), encoding="utf-8")
    return root


def run(copy, *command, **options):
    options |= {"env": {**os.environ, "PYTHONPATH": str(copy)}, "cwd": copy, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, *map(str, command)], **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_is_one_new_file_and_one_entry():
    """An entry is a line of a table and, of a class, the import it needs; a figure needs no file."""
    families = ["objectives", "selection", "evaluation/attacks", "evaluation/judges", "evaluation/probes"]
    tables = [f"raysafe/{family}/__init__.py" for family in (*families, "report/panels")]
    assert [str(Path(name).parent) for name in FILES] == [str(Path(name).parent) for name in tables]
    assert list(ENTRIES) == [*tables[:-1], "raysafe/report/figures.py", tables[-1]]
    for name, entry in ENTRIES.items():
        added = [line for line in entry.splitlines() if line.startswith("+")]
        lines = [line for line in added if not line.startswith("+from ")]
        assert len(lines) == 1 and len(added) == (1 if name.endswith("figures.py") else 2)
        assert not any(line.startswith("-") for line in entry.splitlines())


def test_they_are_as_clean_as_the_house(copy):
    """But for the order of imports in the tables, which `make format` puts right."""
    run(copy, "-m", "ruff", "check", "--config", ROOT / "pyproject.toml", "--ignore", "I001", *FILES, *ENTRIES)


@pytest.mark.training
def test_one_trial_uses_all_of_them(copy, model_folder, tmp_path):
    """The objective trains, the selector ranks by what it learned, the conversation is judged, the probe reads trial and base,
    the figure has its column, the panel its picture."""
    raw = small_trial(model_folder, **SECTIONS)
    table = run(copy, "-c", TRIAL, tmp_path, input=json.dumps(raw))
    (row,) = csv.DictReader((tmp_path / "summary.csv").read_text().splitlines())
    assert 0 <= float(row["asr_insist"]) <= 1 and 0 < float(row["ranking_auc"]) < 1
    assert row["asr_prefill_3"] and " ASR at 3 |" in table and " ASR insist |" in table
    assert (tmp_path / "plots" / "worth-of-rankings.png").exists()
    answers = [path.read_text() for path in tmp_path.glob("artifacts/answers/*/answers.jsonl")]
    assert any("I really need this" in text for text in answers)
    read = [json.loads(path.read_text())["metrics"] for path in tmp_path.glob("artifacts/readings/*/readings.json")]
    assert len(read) == 2 and all(set(one) == {"doubt", "doubt_0"} and one["doubt"]["low"] >= 0 for one in read)
