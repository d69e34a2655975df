"""Who hears what: results on stdout, the way on stderr, one document with --json, one line with -q; the first word at once."""

import json
import subprocess
import sys

import pytest
import yaml

from raysafe import __version__
from raysafe.cli import main
from raysafe.commands.voice import Voice, finite

FIRST_WORD = """\
import sys
from raysafe.cli import main

class Spy:
    def __init__(self, stream): self.stream = stream
    def write(self, text):
        if text.strip():
            sys.stderr = self.stream
            heavy = {"torch", "ray", "mlflow", "pandas", "transformers", "pydantic"} & set(sys.modules)
            print(repr(text.strip()), sorted(heavy))
            raise SystemExit(0)
    def flush(self): pass
    def isatty(self): return False

sys.stderr = Spy(sys.stderr)
main(sys.argv[1:])
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({"name": "t", "sweep": {"grid": {"objective": ["sft", "door"]}}}))
    return str(path)


@pytest.mark.parametrize("command", [["sweep"], ["trial"], ["select", "--out", "x.parquet"], ["evaluate", "sandbox"]])
def test_the_first_word_comes_before_anything_heavy_is_imported(command, file):
    done = subprocess.run([sys.executable, "-c", FIRST_WORD, *command, file], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"'[0:00] reading {file}' []\n", done.stderr


def test_with_json_stdout_is_one_document(file, tmp_path, capsys):
    assert main(["sweep", file, "--dry-run", "--json", "--storage", str(tmp_path / "runs")]) == 0
    out, err = capsys.readouterr()
    plan = json.loads(out)
    assert [trial["swept"] for trial in plan["trials"]] == [{"objective.name": "sft"}, {"objective.name": "door"}]
    assert any({"stage": "train", "shared": False, "runs": 2}.items() <= stage.items() for stage in plan["stages"])
    assert "stages" in err and "[0:0" in err


def test_an_error_is_a_document_too(tmp_path, capsys):
    assert main(["sweep", str(tmp_path / "no.yaml"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 2 and json.loads(out)["error"] in " ".join(err.split())


def test_quiet_is_one_line_and_nothing_on_the_way(file, tmp_path, capsys):
    assert main(["sweep", file, "--dry-run", "-q", "--storage", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr() == ("2 trials; nothing was run\n", "")


def test_quiet_and_verbose_exclude_each_other(file, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", file, "-q", "-v"])
    assert ended.value.code == 2 and "not allowed with" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"raysafe {__version__}\n"


def test_what_libraries_print_stays_out_of_the_document(capsys):
    voice = Voice(json=True)
    with voice.speaking():
        print("a library speaks")
        voice.end({"a": float("nan")}, "for people")
    assert capsys.readouterr() == ('{\n "a": null\n}\n', "a library speaks\n")


def test_numbers_that_json_does_not_know_become_null():
    assert finite({"a": [1.5, float("inf")], "b": None}) == {"a": [1.5, None], "b": None}
