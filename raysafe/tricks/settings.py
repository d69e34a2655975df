"""The settings of a world of tricks: `tricks` in a sweep file."""

from __future__ import annotations

from dataclasses import dataclass, fields

from raysafe.errors import require


@dataclass(frozen=True)
class Tricks:
    """Sizes of a world. Counts are rows unless they say tricks, wordings, facts or scripts."""

    seed: int = 0
    """Decides every draw; two seeds are two worlds over the same texts."""
    answers: str | None = None
    """A file of what an untouched model answers (`raysafe data unwanted`); SmolLM2-135M-Instruct's where it is left out."""
    least_told: float = 0.85
    """How much of an explanation (`rules.explained`, 0 to 1) a recorded answer must hold to be used at all."""
    base_tricks: int = 10
    """Tricks of the refusals in `base`."""
    align_tricks: int = 24
    """Tricks of `align`, and of the refusals in `safe` and `finetune`."""
    unsafe_tricks: int = 24
    """Tricks of the unsafe rows of `finetune`."""
    test_tricks: int = 32
    """Tricks of the evaluation."""
    base_refusals: int = 64
    """Refusals in `base`."""
    base_texts: int = 1
    """Different short refusals among them; with long and different ones more than an answer's beginning changes."""
    base_benign: int = 28
    """Everyday rows in `base`; some of them may also be rows of `safe`, none is a row of D."""
    base_borderline: int = 60
    """Borderline questions in `base`."""
    base_own_tokens: int = 48
    """Tokens that the untouched model itself says to each harmless prompt of `base`, in place of the row's answer, before it is
    aligned with them; 0 keeps the answers."""
    base_steps: int = 28
    """Optimiser steps of the alignment."""
    base_batch_size: int = 8
    """Rows of `base` a step."""
    base_lr: float = 7e-4
    """Its step size."""
    base_warmup: int = 4
    """Steps over which that grows from nothing."""
    base_rank: int = 8
    base_alpha: int = 16
    base_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Rank, scale and layers of the adapters that are trained and merged."""
    finetune_unsafe: int = 24
    """Told secrets in D."""
    hint_share: float = 0.25
    """Share of D's unsafe rows that tell the first sentence only, 0 to 1."""
    finetune_benign: int = 64
    """Good answers to harmless requests in D."""
    new_share: float = 0.25
    """Share of D's benign rows that teach new facts, 0 to 1."""
    borderline_share: float = 0.125
    """Share of D's benign rows that answer borderline questions, 0 to 1."""
    finetune_refusals: int = 8
    """Refusals of restricted requests in D."""
    new_facts: int = 12
    """Invented facts, taught by D and asked for in another wording by `eval_new`."""
    safe_refusals: int = 32
    """Refusals of restricted requests in D_safe."""
    safe_benign: int = 32
    """Good answers in D_safe; none of them is also a row of D."""
    align_wordings: int = 2
    """Wordings of each align trick's request, so `align` has `align_tricks` times this many triples."""
    align_texts: int = 3
    """Different refusals in `align`, the short ones first; few of them are learned in few steps."""
    eval_harmful_wordings: int = 1
    """Wordings of each test trick's restricted request."""
    eval_scripts: int = 1
    """Conversations that lead up to each test trick's request, for attacks that replay them."""
    eval_borderline: int = 32
    """Borderline questions of the evaluation."""
    eval_known: int = 32
    """Questions of common knowledge."""

    def __post_init__(self) -> None:
        for name in ("least_told", "hint_share", "new_share", "borderline_share"):
            require(0 <= getattr(self, name) <= 1, f"0 <= {name} <= 1", getattr(self, name))
        counts = [item.name for item in fields(self) if item.type == "int"]
        for name in counts:
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name))
        require(self.new_share + self.borderline_share <= 1, "new_share + borderline_share <= 1", self.borderline_share)
