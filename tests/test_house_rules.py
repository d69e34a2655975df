"""The rules of the house (shared design, rules 1, 8 and 9) as tests over the source itself."""

import ast
import graphlib
import re
import shlex
import statistics
import sys
from functools import cache
from pathlib import Path

import pytest

from raysafe.config.sweeps import load_sweep
from raysafe.evaluation import ATTACKS, JUDGES, PROBES
from raysafe.objectives import OBJECTIVES
from raysafe.selection import SELECTORS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "raysafe"
FILES = sorted(SOURCE.rglob("*.py"))

LAYERS = (
    {"errors"},
    {"artifacts", "context"},
    {"objectives", "selection", "sandbox", "tricks"},
    {"config"},
    {"data", "models", "tracking"},
    {"training"},
    {"evaluation", "ranking"},
    {"stages"},
    {"trial", "report"},
    {"sweep"},
    {"cluster"},
    {"commands"},
    {"cli"},
)
"""Who may import whom: a package may import itself and what stands in a line above it."""
WITHIN = {
    "models": {"errors", "artifacts", "context", "config", "data"},
    "context": {"errors"},
    "training": {"errors", "config", "objectives", "data", "models", "context"},
}
"""Packages that may import less, or of their own line a named neighbour."""
HOMES = {
    "ray": "cluster",
    "mlflow": "tracking/mlflow",
    "deepspeed": "training/engine.py",
    "data_selection": "selection/dsir.py",
    "lm_eval": "evaluation/probes/harness.py",
    "openai": "evaluation/wire.py",
}
"""The one place that imports a large library."""
BORROWED = {("selection/dsir.py", "data_selection"), ("selection/dsir.py", "numpy")}
"""What a file of the mathematics may import beside torch."""


def imports(tree):
    """Full names of all imported modules, lazy ones and those by a literal name too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield from ({f"raysafe.{alias.name}" for alias in node.names} if node.module == "raysafe" else {node.module})
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (value.value for value in node.args[:1] if isinstance(value, ast.Constant))


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def relative(path):
    return path.relative_to(SOURCE).as_posix()


def package(path):
    return relative(path).split("/")[0].removesuffix(".py")


def level(name):
    return next((number for number, names in enumerate(LAYERS) if name in names), None)


def allowed(importer, imported):
    if importer == imported:
        return True
    if importer in WITHIN:
        return imported in WITHIN[importer]
    return None in (level(imported), level(importer)) or level(imported) < level(importer)


def crossings():
    for path in FILES:
        for name in imports(parsed(path)):
            if name.startswith("raysafe.") and package(path) != "__init__":
                yield path, name.split(".")[1]


def functions():
    """(file, name, lines, parameters) of every function; self and cls don't count."""
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(argument.arg not in ("self", "cls") for argument in arguments)
                yield relative(path), node.name, node.end_lineno - node.lineno + 1, count


def percentile(values, share):
    return sorted(values)[int(len(values) * share)]


def test_the_reader_of_imports_sees_lazy_and_named_ones():
    text = "import a.b\ndef f():\n    from raysafe.x import y\n    from raysafe import z\n    importlib.import_module('ray')\n"
    assert set(imports(ast.parse(text))) == {"a.b", "raysafe.x", "raysafe.z", "ray"}


def test_every_package_has_a_layer():
    assert {package(path) for path in FILES if package(path) != "__init__" and level(package(path)) is None} == set()


def test_nobody_imports_upwards():
    wrong = {f"{relative(path)} imports raysafe.{name}" for path, name in crossings() if not allowed(package(path), name)}
    assert wrong == set()


def test_the_readme_has_the_same_layers():
    """Its line goes downwards, from the command line to the errors."""
    (line,) = re.findall(r"^Imports go downwards: (.*)\.$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [set(names.split(", ")) for names in line.split(" → ")] == list(reversed(LAYERS))


MODULES = {f"raysafe/{relative(path)}".removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES}


def needed(name):
    """Modules of the house that one imports, lazily or for types too; what a package gives on comes from its `__init__`."""
    found = set()
    for node in ast.walk(parsed(MODULES[name])):
        if isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in MODULES else node.module for module in full}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {name}


def test_there_is_no_circle_between_modules():
    """CycleError names one, if there is."""
    assert list(graphlib.TopologicalSorter({name: needed(name) for name in MODULES}).static_order())


def test_the_top_level_holds_six_files():
    names = {path.name for path in SOURCE.iterdir() if path.is_file()} - {"py.typed"}
    assert names == {"__init__.py", "artifacts.py", "cli.py", "context.py", "errors.py", "trial.py"}


FAMILIES = {
    "objectives": OBJECTIVES,
    "selection": SELECTORS,
    "evaluation/attacks": ATTACKS,
    "evaluation/judges": JUDGES,
    "evaluation/probes": PROBES,
}


def asked(path):
    """The classes that a file asks `isinstance` or `issubclass` for, or matches against."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            yield from re.findall(r"\w+", ast.unparse(node.args[1]))
        elif isinstance(node, ast.MatchClass):
            yield ast.unparse(node.cls)


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_outside_a_family_asks_which_member_it_has(family):
    names = {kind.__name__ for kind in FAMILIES[family].values()}
    askers = {relative(path) for path in FILES if names & set(asked(path))}
    assert {path for path in askers if not path.startswith(family + "/")} == set()


def test_training_and_evaluation_never_import_tracking():
    assert not [path for path, name in crossings() if name == "tracking" and package(path) in ("training", "evaluation")]


def test_trial_never_imports_cluster_and_training_knows_no_sweep():
    assert not [path for path, name in crossings() if name == "cluster" and package(path) in ("trial", "stages", "training")]


@pytest.mark.parametrize("library", HOMES)
def test_a_large_library_has_one_home(library):
    importers = {relative(path) for path in FILES if any(name.split(".")[0] == library for name in imports(parsed(path)))}
    assert importers, f"nothing imports {library}: this test shows nothing"
    assert {path for path in importers if not (path == HOMES[library] or path.startswith(HOMES[library] + "/"))} == set()


@pytest.mark.parametrize("part", ["objectives", "selection"])
def test_the_mathematics_needs_torch_alone(part):
    """DSIR asks its library for scores inside a function; numpy is what that speaks."""
    found = {(relative(path), name.split(".")[0]) for path in FILES if package(path) == part for name in imports(parsed(path))}
    names = {name for path, name in found if (path, name) not in BORROWED}
    assert "torch" in names and names - sys.stdlib_module_names <= {"torch", "raysafe"}


def test_no_file_is_longer_than_350_lines():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: count for path, count in lengths.items() if count >= 350} == {}


def test_no_class_is_longer_than_200_lines():
    classes = [(relative(path), node) for path in FILES for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
    assert {f"{path}: {node.name}" for path, node in classes if node.end_lineno - node.lineno >= 200} == set()


def test_functions_are_short():
    lines = [count for _, _, count, _ in functions()]
    assert statistics.median(lines) < 12 and percentile(lines, 0.9) < 40


def test_no_function_takes_more_than_eight_parameters():
    assert {f"{path}: {name}" for path, name, _, count in functions() if count > 8} == set()


OVER_FIVE = {
    ("cluster/worker.py", "_run"),
    ("sandbox/model.py", "_fit"),
    ("sandbox/world.py", "_finetune"),
    ("selection/seal.py", "omega_update"),
}
"""Functions of more than five parameters, by file and name; another one is a reason to think of a dataclass."""


def test_at_most_five_functions_take_more_than_five_parameters():
    found = {(path, name) for path, name, _, count in functions() if count > 5}
    assert found <= OVER_FIVE and len(OVER_FIVE) <= 5


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_is_left_to_do_in_the_source(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(parsed(path))


NAMES = [*OBJECTIVES, *SELECTORS, *ATTACKS, *JUDGES, *PROBES]


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_every_name_in_the_tables_is_documented(name):
    pages = [ROOT / "docs" / page for page in ("methods.md", "evaluation.md")]
    missing = [page.name for page in pages if not page.exists()]
    if missing:
        pytest.skip(f"docs/ has no {', '.join(missing)} yet")
    assert any(f"`{name}`" in page.read_text(encoding="utf-8") for page in pages)


def commands(text):
    """The `raysafe` command lines of a page's bash blocks; a backslash continues a line, a comment ends it."""
    for block in re.findall(r"^[ \t]*```(?:bash|sh|console)\n(.*?)^[ \t]*```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line.startswith("raysafe "):
                yield line


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()]
COMMANDS = [(page.name, line) for page in PAGES for line in commands(page.read_text(encoding="utf-8"))]


def test_the_reader_of_pages_finds_their_commands():
    page = "text\n```bash\n$ raysafe run a.yaml \\\n  --set x=1  # why\npip install x\n```\n```yaml\nraysafe no\n```\n"
    assert list(commands(page)) == ["raysafe run a.yaml    --set x=1  # why"]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line}" for page, line in COMMANDS])
def test_every_command_in_the_documentation_parses(page, line):
    cli = pytest.importorskip("raysafe.cli", reason="there is no command line yet")
    words = shlex.split(line, comments=True)
    stop = next((place for place, word in enumerate(words) if word in ("|", ">", ">>", "&&", "&", ";")), len(words))
    cli.build_parser().parse_args(words[1:stop])


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_every_sweep_file_loads(path):
    assert load_sweep(path).trials
