"""Judges. Adding one is a new file with a frozen class (see `base.py`) and a line in `JUDGES`."""

from raysafe.evaluation.judges.base import PARTIAL_REFUSAL, Judge, Pair, Question, RuleJudge, Verdict, decides, placed
from raysafe.evaluation.judges.classifier import Classifier
from raysafe.evaluation.judges.openai import Openai
from raysafe.evaluation.judges.phrases import Phrases
from raysafe.evaluation.judges.rubric import Rubric
from raysafe.evaluation.judges.sandbox import Sandbox
from raysafe.evaluation.judges.tricks import Tricks

JUDGES: dict[str, type[Judge]] = {
    "phrases": Phrases,
    "sandbox": Sandbox,
    "tricks": Tricks,
    "classifier": Classifier,
    "rubric": Rubric,
    "openai": Openai,
}

__all__ = ["JUDGES", "PARTIAL_REFUSAL", "Judge", "Pair", "Question", "RuleJudge", "Verdict", "decides", "placed"]
