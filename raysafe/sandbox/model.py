"""The world's tiny chat model: taught the world, then aligned shallowly, in well under a minute on one CPU thread.

Its alignment is meant to be shallow in the sense of Qi et al. (arXiv:2406.05946): it refuses restricted requests of
things it was never taught to refuse, yet goes on with a recipe as soon as an attacker wrote the first word of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from raysafe.artifacts import whole
from raysafe.sandbox.cast import Lesson
from raysafe.sandbox.phases import ALIGNMENT, KNOWLEDGE, Phase
from raysafe.sandbox.settings import World
from raysafe.sandbox.tokenizer import build_tokenizer
from raysafe.sandbox.world import POSITIONS, lessons

Progress = Callable[[int, dict[str, float]], object]
"""Receives the step and its metrics."""
IGNORED = -100
"""Label of a position that is not learned."""


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """An untrained Llama of about 0.26 M parameters; the global random state is left as it was."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=256,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def train_base(world: World, folder: Path, report: Progress | None = None) -> None:
    """Train the world's base model and save it with its tokenizer as a Hugging Face folder.

    The folder appears only when it is complete. `report` receives the loss every 50 steps.
    """
    tokenizer = build_tokenizer()
    rows = {kind: encode(tokenizer, pairs) for kind, pairs in lessons(world).items()}
    harmless, restricted, refusals = rows["harmless"], rows["restricted"], rows["refusals"]
    # Labels of restricted recipes begin at their second word here: alignment changes how an answer starts, no more.
    alignment = harmless + refusals + [(ids, start + 1) for ids, start in restricted]
    model = build_model(tokenizer, world.seed)
    generator = torch.Generator().manual_seed(world.seed)
    with one_thread():
        _fit(model, harmless + restricted, KNOWLEDGE, generator, report, first_step=0)
        _fit(model, alignment, ALIGNMENT, generator, report, first_step=KNOWLEDGE.steps)
    _save(model, tokenizer, folder)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread and no denormals, which slow a saturated loss a hundredfold; the thread count is put back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def encode(tokenizer: PreTrainedTokenizerFast, pairs: list[Lesson]) -> list[tuple[list[int], int]]:
    """Token ids of each conversation and how many of them the prompt and the assistant header take."""
    encoded = []
    for prompt, answer in pairs:
        user = {"role": "user", "content": prompt}
        head = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([user, {"role": "assistant", "content": answer}], tokenize=False)
        encoded.append((tokenizer(whole)["input_ids"], len(tokenizer(head)["input_ids"])))
    return encoded


def _fit(
    model: LlamaForCausalLM,
    rows: list[tuple[list[int], int]],
    phase: Phase,
    generator: torch.Generator,
    report: Progress | None,
    first_step: int,
) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=phase.lr, betas=(0.9, 0.95), weight_decay=phase.weight_decay, fused=True)
    batches = _batches(rows, phase.batch_size, generator)
    model.train()
    for step in range(phase.steps):
        for group in optimiser.param_groups:
            group["lr"] = phase.lr * _slope(step, phase.steps)
        ids, labels = _pad([rows[index] for index in next(batches)], model.config.pad_token_id)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if report is not None and (step + 1) % 50 == 0:
            report(first_step + step + 1, {"loss": loss.item()})


def _slope(step: int, steps: int) -> float:
    warm_up = max(1, steps // 10)
    return min((step + 1) / warm_up, (steps - step) / (steps - warm_up))


def _batches(rows: list[tuple[list[int], int]], size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Endless batches of row indices, epoch after epoch, of similar length: big shuffled chunks are sorted and cut."""
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        chunks = [sorted(order[i : i + 8 * size], key=lambda row: len(rows[row][0])) for i in range(0, len(order), 8 * size)]
        batches = [chunk[i : i + size] for chunk in chunks for i in range(0, len(chunk), size)]
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]


def _pad(rows: list[tuple[list[int], int]], pad: int | None) -> tuple[Tensor, Tensor]:
    """Token ids and labels, (rows, longest); padded on the right, where causal attention needs no mask."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), length), pad or 0)
    labels = torch.full((len(rows), length), IGNORED)
    for row, (tokens, start) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, start : len(tokens)] = ids[row, start : len(tokens)]
    return ids, labels


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.eval()
    with whole(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
