"""Greedy generation against an argmax by hand, without a cache."""

import pytest
import tiny
import torch

from raysafe.models.generation import greedy

PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16], [3, 3]]
PAD, STOP = 0, 1


@pytest.fixture(scope="module")
def model():
    return tiny.llama(seed=3)


@torch.no_grad()
def argmax(model, prompt, count, stop=STOP):
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == stop:
            return ids[len(prompt) : -1]
    return ids[len(prompt) :]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_answers_are_the_argmax_whatever_the_batch_and_its_padding(model, size):
    batches = [PROMPTS[start : start + size] for start in range(0, 4, size)]
    answers = [answer for batch in batches for answer in greedy(model, batch, PAD, STOP, 12)]
    assert answers == [argmax(model, prompt, 12) for prompt in PROMPTS]
    assert len({tuple(answer) for answer in answers}) > 1


def test_an_answer_ends_before_the_stop_token(model):
    whole = argmax(model, PROMPTS[0], 12)
    stop = next(token for token in whole if token != whole[0])
    answer = greedy(model, PROMPTS, PAD, stop, 12)[0]
    assert answer == whole[: whole.index(stop)] and 0 < len(answer) < 12


def test_padding_and_stop_may_be_the_same_token(model):
    whole = argmax(model, PROMPTS[0], 12)
    stop = next(token for token in whole if token != whole[0])
    assert greedy(model, PROMPTS, stop, stop, 12) == greedy(model, PROMPTS, PAD, stop, 12)


def test_no_more_tokens_than_asked_for(model):
    assert [len(answer) for answer in greedy(model, PROMPTS, PAD, 39, 2)] == [2, 2, 2, 2]


def test_a_models_own_generation_settings_do_not_move_it_from_the_argmax():
    """Qwen2.5 brings repetition_penalty 1.05 and sampling settings in its generation_config."""
    model = tiny.llama(seed=3)
    plain = greedy(model, PROMPTS, PAD, STOP, 12)
    model.generation_config.update(repetition_penalty=5.0, no_repeat_ngram_size=1, do_sample=True, temperature=0.7, top_p=0.8)
    model.generation_config.update(eos_token_id=[plain[0][0]])
    assert greedy(model, PROMPTS, PAD, STOP, 12) == plain


def test_no_prompts_give_no_answers(model):
    assert greedy(model, [], PAD, STOP, 5) == []
