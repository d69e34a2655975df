"""`report.html`: one page with everything in it, and beside it `plots/`, `report.tex` and `report.md`."""

import time
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from raysafe.artifacts import whole, write_text
from raysafe.report.answer import Answer, answer_of
from raysafe.report.data import ReportData, read_data
from raysafe.report.drawing import save
from raysafe.report.judges import write_agreement
from raysafe.report.latex import REPORT_TEX, latex_report
from raysafe.report.markup import chip, code, facts, folded, items, section, table
from raysafe.report.naming import setting_text
from raysafe.report.panels import PANELS, Absent, Panel, Subject
from raysafe.report.summary import evaluations
from raysafe.report.sweep_file import overlap_in
from raysafe.report.table import REPORT, markdown_report, means_of_base, notes_of
from raysafe.report.variance import VARIANCE, markdown_variance, write_variance

if TYPE_CHECKING:
    from raysafe.report.rankings import SweepRankings

PAGE = "report.html"
PLOTS = "plots"
FEW_ERRORS = 5
"""Up to so many are shown unfolded."""
_WORDS = {"FINISHED": "finished", "FAILED": "failed", "RUNNING": "running", "INTERRUPTED": "interrupted"}


def write_page(folder: Path, rankings: "SweepRankings | None" = None) -> Path:
    """Write the report of a sweep's folder, finished or running, each file whole; returns the page.

    rankings: those of the folder, if they have been read already. Raises DataError if it is no sweep's folder.
    """
    return write_report(folder, rankings)[0]


def write_report(folder: Path, rankings: "SweepRankings | None" = None) -> tuple[Path, Answer]:
    """`write_page`; gives the answer that stands on it, too."""
    data = read_data(folder, rankings)
    subject = Subject(data, answer_of(data.rows, data.by_prompt))
    with whole(folder / PLOTS) as aside:
        aside.mkdir()
        drawn = [(panel, *pictures(panel, subject, aside)) for panel in PANELS]
    write_text(folder / PAGE, page(subject, drawn))
    write_agreement(folder, data.judges)
    more = markdown_variance(data.variance)
    write_text(folder / REPORT_TEX, latex_report(data.name, data.question, data.rows, data.means))
    write_text(folder / REPORT, markdown_report(data.name, data.question, data.rows, data.base, subject.answer) + more)
    write_variance(folder / VARIANCE, data.variance)
    return folder / PAGE, subject.answer


Drawn = tuple[Panel, list[str], str]
"""A panel, its pictures as SVG, and why it has none."""


def pictures(panel: Panel, subject: Subject, folder: Path) -> tuple[list[str], str]:
    """The panel's pictures, written to the folder; of a panel that fails or has nothing to draw, why."""
    if panel.compares and (ways := len(evaluations(subject.data.rows))) > 1:
        return [], f"the trials were evaluated in {ways} different ways (column `evaluation`), which are no comparison"
    try:
        return [save(plot, folder) for plot in panel.draw(subject)], ""
    except Absent as absent:
        return [], str(absent)
    except Exception as problem:  # one panel must not cost the page
        why = f"it could not be drawn ({type(problem).__name__}: {problem})"
        warnings.warn(f"report, {panel.title}: {why}", stacklevel=2)
        return [], why


def page(subject: Subject, drawn: Sequence[Drawn]) -> str:
    """The whole document."""
    data = subject.data
    css = files("raysafe.report").joinpath("page.css").read_text(encoding="utf-8")
    body = [_head(data), _answer(subject), facts(_asked(data)), _contents(drawn), _results(data)]
    for panel, svgs, _ in drawn:
        if svgs:
            plots = "".join(f"<figure>{svg}</figure>" for svg in svgs)
            body.append(section(panel.key, panel.title, f'<div class="plots">{plots}</div>{panel.below(subject)}', panel.says))
    missing = items(f"{panel.title}: {why}." for panel, svgs, why in drawn if not svgs)
    body += [section("missing", "Not drawn", missing)] if missing else []
    body += [_repeat(data), f"<footer>Written {_clock(time.time() * 1000)}. {_FILES}</footer>"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(data.name)}: raysafe report</title><style>{css}</style></head>\n<body><main>"
        + "\n".join(body)
        + "</main></body></html>\n"
    )


_FILES = f"Every picture is in {PLOTS}/ as PNG and SVG, the tables in summary.csv, {REPORT} and {REPORT_TEX}."


def _contents(drawn: Sequence[Drawn]) -> str:
    titles = [("results", "Results"), *((panel.key, panel.title) for panel, svgs, _ in drawn if svgs), ("repeat", "To repeat it")]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title in titles)
    return f"<nav>{links}</nav>"


def _head(data: ReportData) -> str:
    question = f'<p class="question">{escape(data.question)}</p>' if data.question else ""
    counts = {status: sum(row.status == status for row in data.rows) for status in ("FINISHED", "STOPPED", "FAILED")}
    chips = [chip(f"{status.lower()} {count}") for status, count in counts.items() if count]
    if data.state in ("RUNNING", "INTERRUPTED"):
        chips.insert(0, chip(f"{_WORDS[data.state]}: {len(data.rows)} of {len(data.planned)} trials have ended"))
    head = f'<div class="head"><h1>{escape(data.name)}</h1>{"".join(chips)}</div>'
    return f'<header><p class="eyebrow">raysafe report</p>{head}{question}</header>'


def _answer(subject: Subject) -> str:
    sentences = "".join(f"<p>{escape(text)}</p>" for text in subject.answer.sentences)
    so_far = [_SO_FAR] if subject.data.state in ("RUNNING", "INTERRUPTED") else []
    return f'<div class="answer">{sentences}</div>{items([*so_far, *subject.answer.notes, *subject.data.problems])}'


_SO_FAR = "Not all trials have ended: this is what can be said so far, and may change."


def _asked(data: ReportData) -> list[tuple[str, str]]:
    """What was asked: settings, trials, seeds, when, on what."""
    config: Mapping[str, Any] = next(iter(data.planned.values()), {})
    counted = f"{len(data.rows)} of {len(data.planned)} ended" if data.planned else f"{len(data.rows)} ended"
    swept = [(f"Swept: {name}", ", ".join(map(setting_text, _values(data, key)))) for key, name in data.names.items()]
    roles = {role: config.get("data", {}).get(role) for role in ("finetune", "safe", "align")}
    texts = ", ".join(dict.fromkeys(str(path) for path in roles.values() if path))
    attacks = ", ".join(config.get("evaluation", {}).get("attacks") or ())
    judge = config.get("evaluation", {}).get("judge")
    judge = judge.get("name") if isinstance(judge, Mapping) else judge
    return [
        *swept,
        ("Trials", counted),
        ("Seeds", data.seeds),
        ("Prompts a trial", _prompts(data)),
        ("Model", str(config.get("model", {}).get("path") or "")),
        ("Data", texts),
        ("In training", overlap_in(data.folder).removeprefix("overlap: ").removeprefix("overlap ")),
        ("Attacks; judge", f"{attacks}; {judge}" if attacks else ""),
        ("When", _when(data)),
    ]


def _values(data: ReportData, key: str) -> list[Any]:
    """Of a swept setting: as the grid has them, or as the trials do."""
    grid = (data.sweep.get("sweep") or {}).get("grid") or {}
    if key in grid and isinstance(grid[key], list):
        return list(grid[key])
    return list({repr(row.swept.get(key)): row.swept.get(key) for row in data.rows}.values())


def _prompts(data: ReportData) -> str:
    names = {
        "asr_direct_n": "harmful",
        "over_refusal_n": "borderline",
        "unsafe_refused_n": "unsafe borderline",
        "utility_n": "utility",
        "new_tasks_n": "new tasks",
    }
    full = [row for row in data.rows if row.status == "FINISHED"]
    most = {title: max((int(row.figures.get(name, 0)) for row in full), default=0) for name, title in names.items()}
    return ", ".join(f"{count} {title}" for title, count in most.items() if count)


def _results(data: ReportData) -> str:
    """Means first, then every trial; what to know of the numbers; errors."""
    several = len(data.means) < len(data.rows)
    if several:
        inside = table([*means_of_base(data.base, data.by_prompt), *data.means])
        inside += folded(f"Every trial ({len(data.rows)})", table([*data.base, *data.rows]))
    else:
        inside = table([*data.base, *data.rows])
    errors = [f"{row.trial} {row.status.lower()}: {row.error}" for row in data.rows if row.error]
    inside += items(notes_of(data.rows, several))
    inside += folded("Errors", items(errors, "errors"), len(errors) <= FEW_ERRORS) if errors else ""
    return section("results", "Means over seeds" if several else "Results", inside)


_TOLD = ("versions", "datasets", "machine", "relative_to", "fingerprint")
"""What a written configuration holds beside the configuration."""


def _repeat(data: ReportData) -> str:
    """What is needed to do it again: command, versions, fingerprints, configuration."""
    command = f"raysafe sweep {data.folder.name}/sweep.yaml --set name={data.name}-again"
    versions = [f"{name} {version}" for name, version in (data.sweep.get("versions") or {}).items()]
    data_lines = [
        f"{role}: {path} {mark}" for role, found in (data.sweep.get("datasets") or {}).items() for path, mark in found.items()
    ]
    shown = {key: value for key, value in data.sweep.items() if key not in _TOLD}
    machine = ", ".join(str(value) for value in (data.sweep.get("machine") or {}).values())
    fingerprint = str(data.sweep.get("fingerprint") or "")
    inside = code(command) + facts([("Versions", ", ".join(versions)), ("Machine", machine), ("Fingerprint", fingerprint)])
    inside += folded("Data and their fingerprints", items(data_lines)) if data_lines else ""
    inside += folded("Configuration", code(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)))
    says = "Every trial's whole configuration is in sweep.yaml and in trials/TRIAL/config.yaml."
    return section("repeat", "To repeat it", inside, says)


def _when(data: ReportData) -> str:
    if not data.told.began_ms:
        return ""
    began, last = _clock(data.told.began_ms), _clock(data.told.last_ms)
    return f"{began.removesuffix(' UTC')} to {last[11:] if began[:10] == last[:10] else last}"


def _clock(milliseconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(milliseconds / 1000))
