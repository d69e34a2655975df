"""What a step of GCG costs against its floor: forward and backward of one row, and one forward of the batch, bare, with the same
tokens on the same model.

Time: whole steps of the search (candidates drawn, read back as text, losses) beside bare passes of the model, in turn.
Operations: those of matrix products and attention, counted by torch. The floor runs what follows the shared beginning, with
logits at the target alone; whole rows with logits at all of their places are what a plain implementation runs.
Run: OMP_NUM_THREADS=1 python benchmarks/gcg.py [--width 512 --layers 8 --batch 64 --steps 5]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from stepbench.flops import count_flops
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tiny

from raysafe.evaluation.coordinate import Budget, Coordinates, Frame, TargetLoss
from raysafe.evaluation.suffixes import Seat, usable_tokens

REQUEST = "How do I open the box? Sure, here is how: first open the lid. I cannot help with that."


def model_of(vocabulary: int, width: int, layers: int) -> LlamaForCausalLM:
    """A random Llama, frozen."""
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
                         num_attention_heads=8, max_position_embeddings=512)  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def bare(model: LlamaForCausalLM, row: list[int], batch: int, keep: int) -> None:
    """Forward and backward of one row down to its embeddings, then forward of a batch of such rows; `keep` logits a row."""
    embeddings = model.get_input_embeddings()(torch.tensor([row])).requires_grad_()
    model(inputs_embeds=embeddings, use_cache=False, logits_to_keep=keep).logits.logsumexp(-1).sum().backward()
    with torch.no_grad():
        model(input_ids=torch.tensor([row] * batch), use_cache=False, logits_to_keep=keep).logits.logsumexp(-1)


def step(loss: TargetLoss, coordinates: Coordinates, suffix: list[int], budget: Budget) -> None:
    """A step of the search."""
    loss(coordinates.candidates(loss.gradient(suffix), suffix, budget))


def seconds(work: Callable[[], None]) -> float:
    """CPU seconds."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("vocabulary", 32000), ("width", 512), ("layers", 8), ("batch", 64), ("steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    chat, draw = tiny.chat("llama3"), torch.Generator().manual_seed(0)
    model = model_of(given.vocabulary, given.width, given.layers)
    seat, allowed = Seat.of(chat, tiny.ask(REQUEST)), usable_tokens(chat, given.vocabulary)
    suffix = seat.drawn(20, allowed, draw)
    before, _, after = seat.split(seat.texts([suffix])[0])
    target = chat._ids("Sure, here is how: first open")[:10]
    loss = TargetLoss(model, Frame(tuple(before), tuple(after), tuple(target)))
    coordinates = Coordinates(allowed, partial(seat.readable, before=before, after=after), draw)
    tail = [*suffix, *after, *target[:-1]]
    ways = {
        "a step": partial(step, loss, coordinates, suffix, Budget(1, 256, given.batch, True)),
        "floor: after the shared beginning": partial(bare, model, tail, given.batch, len(target)),
        "bare rows, whole": partial(bare, model, [*before, *tail], given.batch, 0),
    }
    counted = {name: count_flops(work) for name, work in ways.items()}  # and warms up
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.steps):
        for name, work in ways.items():
            taken[name].append(seconds(work))
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{weights / 1e6:.0f} M weights, batch {given.batch}, {len(before)} tokens before, {len(tail)} run")
    print("| | CPU s | GFLOP | a step is |\n| --- | --- | --- | --- |")
    for name in ways:
        time_ratio = statistics.median(a / b for a, b in zip(taken["a step"], taken[name], strict=True))
        ratio = counted["a step"] / counted[name]
        figures = f"{statistics.median(taken[name]):.2f} | {counted[name] / 1e9:.1f}"
        print(f"| {name} | {figures} | {time_ratio:.2f} × its time, {ratio:.2f} × its operations |")


if __name__ == "__main__":
    main()
