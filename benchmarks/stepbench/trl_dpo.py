"""The step of TRL's DPOTrainer, by the trainer itself: its tokenization, collator, training step and optimiser.

It has no retain stream, so it is compared with our DPO step without one. Its loss lacks the factor 2 / beta of ours; gradient
clipping brings both to the same length wherever the norm is above 1.
"""

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from raysafe.data.tokens import TokenRow
from stepbench.methods import POLICY_SEED, REFERENCE_SEED, SETTINGS, Method
from stepbench.rows import END, MAX_LENGTH, Workload
from stepbench.shapes import Shape, random_model

PAD_TEXT, END_TEXT = "<pad>", "</s>"


def word_tokenizer(vocabulary: int) -> Any:
    """A tokenizer of words that are the token ids themselves, so that TRL sees exactly our ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = {_word(token): token for token in range(vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=PAD_TEXT))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_TEXT, pad_token=PAD_TEXT, unk_token=PAD_TEXT)


def _word(token: int) -> str:
    return {0: PAD_TEXT, END: END_TEXT}.get(token, f"t{token}")


def _text(ids: tuple[int, ...]) -> str:
    return " ".join(map(_word, ids))


def preference(safe: TokenRow, harmful: TokenRow) -> dict[str, str]:
    """A pair as TRL's rows: the blank at the prompt's end parts it from the answers."""
    prompt = safe.input_ids[: safe.label_start]
    answers = {"chosen": safe.input_ids[safe.label_start :], "rejected": harmful.input_ids[harmful.label_start :]}
    return {"prompt": _text(prompt) + " "} | {name: _text(ids) for name, ids in answers.items()}


class TrlStep:
    """`precomputed` takes the reference's log-probabilities once, before training, as the trainer offers."""

    def __init__(self, method: Method, shape: Shape, work: Workload, precomputed: bool = False) -> None:
        self.factor = 2 / method.objective.beta  # type: ignore[union-attr]
        with tempfile.TemporaryDirectory() as folder, _quiet():
            self.trainer = _trainer(method, shape, work, precomputed, folder)
            self.trainer.create_optimizer_and_scheduler(num_training_steps=10**6)
        self.trainer.current_gradient_accumulation_steps = 1
        self.model = self.trainer.model.train()
        self.rows = len(self.trainer.train_dataset)

    def step(self, number: int) -> float:
        """Train on the pairs of step `number`; returns the loss, times 2 / beta."""
        size, trainer = SETTINGS.batch_size, self.trainer
        places = [place % self.rows for place in range(number * size, (number + 1) * size)]
        columns = ("prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logps", "ref_rejected_logps")
        features = [{k: v for k, v in trainer.train_dataset[place].items() if k in columns} for place in places]
        with _quiet():
            loss = trainer.training_step(self.model, trainer.data_collator(features))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), trainer.args.max_grad_norm)
        trainer.optimizer.step()
        self.model.zero_grad()
        return loss.item() * self.factor


def _trainer(method: Method, shape: Shape, work: Workload, precomputed: bool, folder: str) -> Any:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    args = DPOConfig(
        output_dir=str(Path(folder) / "out"), per_device_train_batch_size=SETTINGS.batch_size, max_length=MAX_LENGTH,
        beta=method.objective.beta, learning_rate=SETTINGS.lr, lr_scheduler_type="constant", max_grad_norm=SETTINGS.clip,
        weight_decay=SETTINGS.weight_decay, precompute_ref_log_probs=precomputed, use_cpu=True, bf16=False, disable_tqdm=True,
        report_to="none", gradient_checkpointing=False, remove_unused_columns=True,
    )  # fmt: skip
    pairs = [preference(safe, harmful) for safe, harmful in zip(work.safe, work.harmful, strict=True)]
    return DPOTrainer(
        model=random_model(shape, POLICY_SEED), ref_model=random_model(shape, REFERENCE_SEED), args=args,
        train_dataset=Dataset.from_list(pairs), processing_class=word_tokenizer(shape.vocabulary),
    )  # fmt: skip


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and no warnings about options that TRL itself sets."""
    import datasets

    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("trl").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    datasets.enable_progress_bars()


def trl_live(method: Method, shape: Shape, work: Workload) -> TrlStep:
    """TRL as it comes: the reference model runs at every step."""
    return TrlStep(method, shape, work)


def trl_precomputed(method: Method, shape: Shape, work: Workload) -> TrlStep:
    """TRL with `precompute_ref_log_probs`."""
    return TrlStep(method, shape, work, precomputed=True)
