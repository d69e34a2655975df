"""Judges. Adding one is a new file with a frozen class (see `base.py`) and a line in `JUDGES`."""

from raysafe.evaluation.judges.base import Judge, Pair, Question, RuleJudge, Verdict
from raysafe.evaluation.judges.phrases import Phrases
from raysafe.evaluation.judges.sandbox import Sandbox

JUDGES: dict[str, type[Judge]] = {
    "phrases": Phrases,
    "sandbox": Sandbox,
}

__all__ = ["JUDGES", "Judge", "Pair", "Question", "RuleJudge", "Verdict"]
