"""What came of a sweep in two sentences, computed from its numbers, and what a reader must know of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raysafe.report.figures import listed
from raysafe.report.levels import Level
from raysafe.report.naming import setting_text, short_names
from raysafe.report.prompts import ByPrompt, no_prompts
from raysafe.report.replicates import ways
from raysafe.report.summary import TrialRow

if TYPE_CHECKING:
    from raysafe.report.effects import Effect, Effects

MOST_MOVED = 3
"""Figures that a sentence tells of one setting."""
MOST_NAMED = 3
"""Trials that broke a guard, or repeat another, by name."""


@dataclass(frozen=True)
class Answer:
    """`sentences`: two, or one where nothing can be compared. `notes`: what was left out, and how the numbers came about."""

    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    effects: "Effects"
    titles: dict[str, str]
    """Of the figures that were compared, by name."""
    by_prompt: ByPrompt = no_prompts
    """What single prompts gave."""


def answer_of(rows: Sequence[TrialRow], by_prompt: ByPrompt = no_prompts) -> Answer:
    """The answer that the ended trials give. `by_prompt`: what single prompts gave, where that is known."""
    from raysafe.report.effects import effects_of  # numpy, which the words of a table do without

    figures = [figure for figure in listed(row.figures for row in rows) if figure.title and figure.average == "interval"]
    titles = {figure.name: figure.title for figure in figures if any(figure.name in row.figures for row in rows)}
    effects = effects_of([row for row in rows if not row.guarded], list(titles), by_prompt)
    told = _Teller(effects, titles)
    return Answer(tuple(told.sentences()), (*_left_out(rows, effects), *told.notes()), effects, titles, by_prompt)


@dataclass(frozen=True)
class _Teller:
    """Puts effects into words."""

    effects: "Effects"
    titles: dict[str, str]

    def sentences(self) -> list[str]:
        """What moved, and what did not or can't be told."""
        if not self.effects.used:
            return ["No trial has finished yet, so there is nothing to compare."]
        if not self.effects.effects:
            return [f"{self._nothing()}."]
        moved = sorted(self._moved(), key=lambda factor: self.effects.by_factor[factor][0].order)
        still = [factor for factor, found in self.effects.by_factor.items() if found and factor not in moved]
        if not moved:
            return [f"{self._no_difference(still, first=True)}.", f"{self._would_have_been_seen(still)}{self._luck()}."]
        first = f"{self._change(moved[0])}."
        rest = [f"changing {self._change(factor).removeprefix('Changing ')}" for factor in moved[1:3]]
        rest += [f"{self._no_difference(still)} ({self._would_have_been_seen(still, short=True)})"] if still else []
        rest = rest or [self._unmoved(moved[0])]
        second = "; ".join(rest)
        return [first, f"{second[0].upper()}{second[1:]}{self._luck()}."]

    def notes(self) -> list[str]:
        """How the numbers came about."""
        notes = []
        if self.effects.together:
            names = " and ".join(self.name((key,)) for key in self.effects.together)
            alone = len(self.effects.together) == 1
            verb = "was never changed by itself" if alone else "were never changed one without the other"
            notes.append(f"{names} {verb}: what {'it does' if alone else 'each of them does'} can't be separated in this design.")
        if self.effects.effects:
            paired = sum(effect.paired for effect in self.effects.effects)
            how = {0: "", len(self.effects.effects): ", prompt by prompt"}.get(paired, ", prompt by prompt where both kept them")
            notes.append(
                f"Each difference is the mean over seeds of trials that are alike in all else{how}; [ ] holds for all "
                f"{len(self.effects.effects)} comparisons together at 95 %, and what is called a difference is one by Holm's "
                "test of all together at 5 %."
            )
        return notes

    def name(self, factor: Sequence[str]) -> str:
        """As a column of the table is called."""
        short = short_names(list(dict.fromkeys(key for row in self.effects.used for key in row.swept)))
        return " and ".join(short[key] for key in factor)

    def _moved(self) -> list[tuple[str, ...]]:
        return [factor for factor, found in self.effects.by_factor.items() if found and found[0].shown]

    def _change(self, factor: tuple[str, ...]) -> str:
        """The largest difference, and what else the same two levels differ in."""
        largest, *others = (effect for effect in self.effects.by_factor[factor] if effect.shown)
        told = [largest, *(effect for effect in others if effect.levels == largest.levels)][:MOST_MOVED]
        start, end = (level_text(level) for level in largest.levels)
        return f"Changing {self.name(factor)} from {start} to {end} moved {join(change(effect, self.titles) for effect in told)}"

    def _no_difference(self, factors: Sequence[tuple[str, ...]], first: bool = False) -> str:
        names = [self.name(factor) for factor in factors]
        if first and len(names) > 1:
            return f"None of {join(names)} made a difference that {self._size(factors)} can show"
        return f"{join(names)} made no difference that {self._size(factors)} can show"

    def _would_have_been_seen(self, factors: Sequence[tuple[str, ...]], short: bool = False) -> str:
        """The true difference that every comparison of the main figures would have shown with a chance of 80 %."""
        sizes: dict[str, float] = {}
        for figure in ("win_rate", "safety_score", *self.titles):
            found = [effect.visible for factor in factors for effect in self.effects.by_factor[factor] if effect.figure == figure]
            if found and len(sizes) < 2:
                sizes[self.titles[figure]] = max(found)
        texts = join((f"{size:.2f} in {title}" for title, size in sizes.items()), "or")
        said = f"of {texts} would have been seen in four of five such sweeps"
        return f"a true one {said}" if short else f"A true difference {said}"

    def _unmoved(self, factor: tuple[str, ...]) -> str:
        """Of the only factor, what it left alone."""
        found = self.effects.by_factor[factor]
        still = [name for name in self.titles if not any(effect.shown for effect in found if effect.figure == name)]
        still = [name for name in still if any(effect.figure == name for effect in found)]
        if not still:
            return f"every figure moved beyond what chance does to {self._size([factor])}"
        names = join((self.titles[name] for name in still), "or")
        return f"it made no difference to {names} that {self._size([factor])} can show"

    def _size(self, factors: Sequence[tuple[str, ...]]) -> str:
        """`32 prompts × 3 seeds`."""
        found = [effect for factor in factors for effect in self.effects.by_factor[factor]]
        seeds, prompts = min(effect.seeds for effect in found), [effect.prompts for effect in found if effect.prompts]
        few, many = min(prompts, default=0), max(prompts, default=0)
        asked = f"{few} prompts" if few == many else f"{few} to {many} prompts"
        return f"{asked if prompts else 'these prompts'} × {seeds} seed{'s' if seeds > 1 else ''}"

    def _luck(self) -> str:
        one = all(effect.seeds == 1 for effect in self.effects.effects)
        return "; with one seed, what a setting does can't be told from luck" if one else ""

    def _nothing(self) -> str:
        if self.effects.together:
            return f"No two trials are alike in all but {self.name(self.effects.together)}: its effect can't be told from others"
        if len(self.effects.used) == 1:
            return "One trial finished: there is nothing to compare it with"
        return "No setting has two values, so there is nothing to compare"


def _left_out(rows: Sequence[TrialRow], effects: "Effects") -> list[str]:
    """Failed and stopped trials, where there are some."""
    guarded = [row for row in rows if row.guarded]
    counts = Counter(row.status for row in rows if not row.guarded)
    notes = []
    if guarded:
        names = ", ".join(row.trial for row in guarded[:MOST_NAMED]) + ("" if len(guarded) <= MOST_NAMED else " and others")
        are = "is" if len(guarded) == 1 else "are"
        notes.append(f"{_trials(len(guarded))} broke a guard and {are} left out: {names}. What is left was chosen by its scores.")
    if failed := counts["FAILED"]:
        notes.append(f"{_trials(failed)} failed and {'is' if failed == 1 else 'are'} left out.")
    if stopped := counts["STOPPED"]:
        counted = any(row.status == "STOPPED" for row in effects.used)
        how = "counted here, as nothing can be compared otherwise" if counted else "left out"
        fewer = "scored after fewer epochs, on the prompts of that scoring, which may be fewer"
        rest = "" if counted else " What is left was chosen by its scores."
        notes.append(f"{_trials(stopped)} stopped early and {how}: {fewer}.{rest}")
    if (count := ways([row for row in rows if row.status != "FAILED" and not row.guarded])) > 1:
        notes.append(
            f"Trials were evaluated in {count} ways (suites, decoding or judges differ): each is compared and averaged with "
            "those alone that were evaluated as it was."
        )
    if repeated := effects.repeated:
        names = join(row.trial for row in repeated[:MOST_NAMED]) + (" and others" if len(repeated) > MOST_NAMED else "")
        notes.append(
            f"{names} repeated the seed or the training of another trial of the same settings: no further seed, left out."
        )
    if twins := sum(bool(row.figures.get("same_as")) for row in effects.used):
        notes.append(f"{_trials(twins)} had the same rows and settings of training as another, and so its scores.")
    return notes


def _trials(count: int) -> str:
    return f"{count} trial{'s' if count > 1 else ''}"


def change(effect: "Effect", titles: Mapping[str, str]) -> str:
    """`win rate from 0.40 to 0.60 (+0.20 [+0.10, +0.30])`."""
    before, after = (signed(mean).removeprefix("+") for mean in effect.means)
    interval = f"[{signed(effect.low)}, {signed(effect.high)}]"
    return f"{titles[effect.figure]} from {before} to {after} ({signed(effect.difference)} {interval})"


def level_text(level: Level) -> str:
    """Values as a table writes them."""
    return ", ".join(setting_text(value) for value in level)


def signed(value: float) -> str:
    """`+0.20`, `−0.20`; a zero has no sign."""
    text = f"{abs(value):.2f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def join(texts: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    *first, final = texts
    return f"{', '.join(first)} {last} {final}" if first else final
