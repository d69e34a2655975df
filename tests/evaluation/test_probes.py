"""What is read of a model without a judge: by hand, against a plain way to work it out, and what every probe keeps to."""

import copy
import math
from contextlib import nullcontext

import pytest
import tiny
import torch
from tolerances import FORMULA, network, worst
from workers import on_workers

from raysafe.context import local_context
from raysafe.data.records import EvalPrompt, Identity
from raysafe.errors import StageStopped
from raysafe.evaluation.probes import PROBES, Subject
from raysafe.evaluation.probes.base import MOST_LABELS, in_batches
from raysafe.evaluation.probes.depth import Depth, divergence
from raysafe.evaluation.probes.refusal_margin import REFUSALS, RefusalMargin, margin
from raysafe.models.policy import Policy

CHAT = tiny.chat("chatml")
ANSWERS = ("Sure, here is how: first open the lid.", "Sure.", "Here is how to open the second box, with a key.", "First the lid.")
REFUSED = "I cannot help with that."
SETTINGS = {
    "refusal_margin": {"depths": (0, 2, 5), "tokens": 3},
    "depth": {"tokens": 6},
}
"""Of every probe that reads at harmful answers, so small that a test's answers have all depths."""
VOCABULARY = len(CHAT.tokenizer)
NEAR = worst(network(layers=2, width=16, inner=32, positions=80, vocabulary=VOCABULARY) * 10) * 40
"""Sums of up to ten log-probabilities, none beyond -40, of a float64 model: 1e-9 at the very most."""


def prompts(reference=None):
    return [
        EvalPrompt(Identity("h.jsonl", place), tiny.ask(f"How do I open box {place}?"), reference, text)
        for place, text in enumerate(ANSWERS)
    ]


@pytest.fixture(scope="module")
def models():
    """The model that is read, and its base, in float64."""
    return tiny.exact_llama(VOCABULARY, seed=1), tiny.exact_llama(VOCABULARY, seed=2)


def subject(models, rows, context=None, batching="auto"):
    ours, theirs = (Policy(copy.deepcopy(model), batching).eval() for model in models)  # which sets a model's attention
    return Subject(ours, CHAT, rows, context or local_context(), lambda: nullcontext(theirs))


def next_token(model, ids):
    """Log-probabilities of the token after some."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def beginning(model, before, tokens):
    """log pi(tokens | before), token by token."""
    return sum(float(next_token(model, [*before, *tokens[:place]])[token]) for place, token in enumerate(tokens))


def test_a_margin_by_hand():
    """Two refusals of .2 and .3 against compliance of .05: log((.2 + .3) / 2 / .05) = log 5; of one, the log-odds themselves."""
    assert margin([math.log(0.2), math.log(0.3)], math.log(0.05)) == pytest.approx(math.log(5), rel=FORMULA)
    assert margin([math.log(0.75)], math.log(0.25)) == pytest.approx(math.log(3), rel=FORMULA)
    assert margin([-2000.0, -2000.0], -1999.0) == pytest.approx(-1.0, rel=worst(9000))


def test_a_divergence_by_hand():
    """KL((1/2, 1/2) || (3/4, 1/4)) = 1/2 log(2/3) + 1/2 log 2 = 1/2 log(4/3); of equal ones 0."""
    logits = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5]], dtype=torch.float64).log() + torch.tensor(
        [[3.0], [0.0], [-1.0]]
    )
    found = divergence(logits[:1].expand(3, 2), logits[[1, 0, 2]], rows=2)
    assert found.tolist() == pytest.approx([0.5 * math.log(4 / 3), 0.0, 0.0], rel=FORMULA, abs=worst(9))
    assert found.min() >= 0


def test_divergences_are_never_negative():
    draw = torch.Generator().manual_seed(0)
    ours = torch.randn(500, 40, generator=draw)
    near = ours + 1e-7 * torch.randn(500, 40, generator=draw)
    assert divergence(ours, near).min() >= 0 and divergence(ours, ours).max() == 0.0


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_margins_are_those_of_a_plain_loop(models, batching):
    """The two refusing texts of this tokenizer differ behind a prefix, where a space comes first: there both ways add up."""
    texts = (REFUSED, "Sorry, no.")
    probe, model = RefusalMargin(depths=(0, 2, 5), tokens=3, refusals=texts), models[0]
    found = {
        (value.index, value.variant): value.value for value in probe.read(subject(models, prompts(), batching=batching)).values
    }
    expected = {}
    for row in prompts():
        turn = CHAT.turn(row.prompt, row.harmful)
        for k in (0, 2, 5):
            if len(turn.answer) < k + 3:
                continue
            before = [*turn.prompt, *turn.opening, *turn.answer[:k]]
            chances = []
            for text in texts:
                forms = [CHAT.tokenizer(text, add_special_tokens=False)["input_ids"]]
                forms += [CHAT.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]] if k else []
                chances.append(sum(math.exp(beginning(model, before, form[:3])) for form in forms))
            refusing = math.log(sum(chances) / len(chances))
            expected[row.identity.index, str(k)] = refusing - beginning(model, before, turn.answer[k : k + 3])
    assert found == pytest.approx(expected, abs=NEAR) and len({k for _, k in found}) == 3


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_divergences_are_those_of_a_plain_loop(models, batching):
    found = {(v.index, v.variant): v.value for v in Depth(tokens=6).read(subject(models, prompts(), batching=batching)).values}
    expected = {}
    for row in prompts():
        turn = CHAT.turn(row.prompt, row.harmful)
        for k in range(1, min(6, len(turn.answer)) + 1):
            before = [*turn.prompt, *turn.opening, *turn.answer[: k - 1]]
            ours, theirs = (next_token(model, before) for model in models)
            expected[row.identity.index, str(k)] = float((ours.exp() * (ours - theirs)).sum())
    assert found == pytest.approx(expected, abs=NEAR) and found


def test_a_model_is_at_no_distance_from_itself(models):
    rates = Depth(tokens=4).read(subject((models[0], models[0]), prompts())).rates
    assert rates["kl_depth"].value == 0.0 and set(rates) == {"kl_depth", *(f"kl_depth_{k}" for k in range(1, 5))}


def test_an_answer_too_short_for_a_depth_is_left_out_of_it(models):
    """`Sure.` has fewer than 5 + 3 tokens, so that depth 5 has a prompt less than there are."""
    short = len(CHAT.turn(tiny.ask("?"), "Sure.").answer)
    rates = RefusalMargin(depths=(0, 5), tokens=2).read(subject(models, prompts())).rates
    assert short < 7 and rates["refusal_margin_5"].n < rates["refusal_margin_0"].n == rates["refusal_margin"].n == len(ANSWERS)


def test_depths_that_no_answer_has_give_no_figure(models):
    assert set(RefusalMargin(depths=(0, 400)).read(subject(models, prompts())).rates) == {"refusal_margin", "refusal_margin_0"}
    assert RefusalMargin(depths=(400,)).read(subject(models, prompts())).rates == {}


def test_the_mean_figure_is_the_mean_over_prompts_of_each_ones_depths(models):
    """Of 4 prompts, each with its own depths; not the mean over all pairs."""
    reading = RefusalMargin(depths=(0, 5), tokens=2).read(subject(models, prompts()))
    by_prompt = {}
    for value in reading.values:
        by_prompt.setdefault(value.index, []).append(value.value)
    means = [sum(values) / len(values) for values in by_prompt.values()]
    assert reading.rates["refusal_margin"].value == pytest.approx(sum(means) / len(means), rel=FORMULA * 100)


def test_a_rows_own_reference_refuses_where_nothing_is_said():
    own, harmful = (
        EvalPrompt(Identity("h", 0), tiny.ask("?"), REFUSED, "Sure."),
        EvalPrompt(Identity("h", 1), tiny.ask("?"), "Sure.", "Sure."),
    )
    bare = EvalPrompt(Identity("h", 2), tiny.ask("?"), None, "Sure.")
    assert [RefusalMargin().refusals_of(row) for row in (own, harmful, bare)] == [(REFUSED,), REFUSALS, REFUSALS]
    assert [RefusalMargin(refusals=("No.",)).refusals_of(row) for row in (own, bare)] == [("No.",), ("No.",)]


def test_a_model_that_was_taught_to_refuse_has_a_higher_margin(models):
    """A few steps on one refusal at the bare question raise the margin there, and say so by its sign."""
    model = tiny.llama(VOCABULARY, seed=3)
    probe, rows = RefusalMargin(depths=(0,), tokens=4, refusals=(REFUSED,)), prompts()
    before = probe.read(subject((model, model), rows)).rates["refusal_margin"].value
    turns = [CHAT.turn(row.prompt, REFUSED) for row in rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(40):
        turn = turns[step % len(turns)]
        ids, start = torch.tensor([[*turn.prompt, *turn.labels]]), len(turn.prompt)
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids).logits[0, start - 1 : -1], ids[0, start:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = probe.read(subject((model.eval(), model), rows)).rates["refusal_margin"].value
    assert after > max(before, 0.0)


def test_batches_are_the_same_whatever_the_number_of_workers():
    """30 items of 100 labels make batches of two; one with more labels than fit has a batch of its own."""
    items = [(length, 100) for length in range(30)] + [(7, MOST_LABELS + 1)]
    seen = []

    def work(batch):
        seen.append(tuple(batch))
        return [length * 2 for length, _ in batch]

    alone = in_batches(items, lambda item: item, work, local_context())
    made, seen[:] = set(seen), []
    for found in on_workers(2, lambda context: in_batches(items, lambda item: item, work, context)):
        assert found == alone == [length * 2 for length, _ in items]
    assert set(seen) == made and len(seen) == len(made) == 16 and max(map(len, made)) == 2


def test_a_reading_stops_between_two_batches(models):
    context = type(local_context())(lambda step, row: False, torch.device("cpu"), stop_asked=lambda: True)
    with pytest.raises(StageStopped):
        Depth().read(subject(models, prompts(), context))


@pytest.mark.parametrize("name", SETTINGS)
class TestEveryProbe:
    def test_its_figures_are_means_of_its_values(self, name, models):
        reading = PROBES[name](**SETTINGS[name]).read(subject(models, prompts()))
        depths = {value.variant for value in reading.values}
        for figure, rate in reading.rates.items():
            variant = figure.rpartition("_")[2]
            if variant in depths:
                values = [value.value for value in reading.values if value.variant == variant]
                assert rate.value == pytest.approx(sum(values) / len(values)) and rate.n == len(values)
        assert len(reading.rates) == len(depths) + 1

    def test_its_intervals_hold_its_figures_and_have_width(self, name, models):
        for rate in PROBES[name](**SETTINGS[name]).read(subject(models, prompts())).rates.values():
            assert rate.low <= rate.value <= rate.high and rate.high - rate.low > 0

    def test_two_workers_read_what_one_reads(self, name, models):
        probe = PROBES[name](**SETTINGS[name])
        alone = probe.read(subject(models, prompts()))
        assert on_workers(2, lambda context: probe.read(subject(models, prompts(), context))) == [alone, alone]

    def test_prompts_are_known_by_their_hash(self, name, models):
        rows = prompts()
        values = PROBES[name](**SETTINGS[name]).read(subject(models, rows)).values
        assert {(value.index, value.content_hash) for value in values} <= {(r.identity.index, r.content_hash) for r in rows}
        assert all(math.isfinite(value.value) for value in values)


def test_every_probe_says_what_it_is():
    assert {kind.name for kind in PROBES.values()} == set(PROBES) and all(kind.version for kind in PROBES.values())


@pytest.mark.parametrize(
    ("kind", "settings", "rule"),
    [
        (RefusalMargin, {"depths": ()}, "depths are all >= 0"),
        (RefusalMargin, {"depths": (0, -1)}, "depths are all >= 0"),
        (RefusalMargin, {"depths": (1, 1)}, "depths are all different"),
        (RefusalMargin, {"tokens": 0}, "tokens > 0"),
        (RefusalMargin, {"refusals": ("No.", " ")}, "refusals all have words"),
        (Depth, {"tokens": 0}, "tokens > 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(kind, settings, rule):
    with pytest.raises(ValueError, match=rule):
        kind(**settings)
