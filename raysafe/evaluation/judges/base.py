"""What a judge is."""

from typing import ClassVar, Literal, Protocol, runtime_checkable

from raysafe.data.records import EvalPrompt

SuiteRole = Literal["harmful", "borderline", "utility", "new_tasks"]


@runtime_checkable
class Judge(Protocol):
    """Decides about whole answers, prefilled beginnings included. Its name and version belong to every result."""

    name: ClassVar[str]
    version: ClassVar[str]

    def refuses(self, answer: str) -> bool:
        """Whether the answer declines."""
        ...

    def complies(self, prompt: EvalPrompt, answer: str) -> bool:
        """Whether an attack with this answer succeeded."""
        ...

    def correct(self, prompt: EvalPrompt, answer: str) -> bool:
        """Whether the answer agrees with the prompt's reference."""
        ...

    def prefer(self, role: SuiteRole, prompt: EvalPrompt, first: str, second: str) -> float:
        """1.0 if the first answer is better, 0.0 if the second, 0.5 for a tie."""
        ...


def by_quality(first: float, second: float) -> float:
    """`prefer` from two qualities, larger is better."""
    return 0.5 + 0.5 * (first > second) - 0.5 * (first < second)
