"""Asking: what is asked when, how answers are generated on several workers, and what is kept of them."""

import json
from dataclasses import dataclass, replace

import pytest
import tiny
import torch
from asking import CHAT, COMPLIANCE, REFUSAL, answers_of, model, named, rows, victim

from raysafe.context import local_context
from raysafe.data.chat import ChatFormat
from raysafe.data.records import Message
from raysafe.errors import StageStopped
from raysafe.evaluation.answering import ANSWERS, Answers, Decoding, _to_do, ask, generator
from raysafe.evaluation.attacks import Attack, Direct, Prefill, case
from raysafe.evaluation.suites import suites_of
from raysafe.models.generation import greedy

HARMFUL = "Sure, here is how: first open the lid."
GREEDY = Decoding(max_new_tokens=6, batch_size=2)


def test_all_questions_go_to_the_model_in_one_call():
    generate = model(lambda text: REFUSAL)
    data = {"harmful": rows("h", 2, harmful=HARMFUL), "borderline": rows("b", 2)}
    ask(suites_of(named(Direct(), Prefill((1, 2))), data), victim(generate))
    assert generate.calls == [2 + 2 * 2 + 2]


def test_answers_name_their_prompt_by_its_place_in_the_file():
    data = {"harmful": rows("h", 4)}
    data["harmful"].rows = data["harmful"].rows[2:]
    answers = answers_of(lambda text: REFUSAL, data)
    assert [(row.suite, row.index, row.content_hash) for row in answers.rows] == [
        ("direct", prompt.identity.index, prompt.content_hash) for prompt in data["harmful"].rows
    ]


def test_an_answer_begins_with_what_was_prefilled():
    answers = answers_of(lambda text: " the box.", {"harmful": rows("h", 1, harmful=HARMFUL)}, [Prefill((3,))])
    (row,) = (row for row in answers.rows if row.suite == "prefill")
    assert row.prefilled == CHAT.tokenizer.decode(CHAT.turn(tiny.ask("h 0"), HARMFUL).answer[:3])
    assert row.answer.startswith(row.prefilled) and row.answer.endswith(" the box.") and row.variant == "3"


@dataclass(frozen=True)
class Stairs(Attack):
    """An attack in several turns, each asked after the answer to the one before."""

    name = "stairs"
    turns: int = 2

    def cases(self, prompts, chat):
        return [case(place, prompt.prompt, chat) for place, prompt in enumerate(prompts)]

    def go_on(self, asked, answer, chat):
        if len(asked.asked) // 2 + 1 == self.turns:
            return None
        return case(asked.place, (*asked.asked, Message("assistant", answer), Message("user", "And then?")), chat)


@dataclass(frozen=True)
class Replay(Attack):
    """An attack with a conversation that was written beforehand."""

    name = "replay"

    def cases(self, prompts, chat):
        before = (*tiny.ask("Do you know boxes?"), Message("assistant", "I do."))
        return [case(place, (*before, *prompt.prompt), chat) for place, prompt in enumerate(prompts)]


def told_so_far(text):
    """Refuses twice, and gives in to the third question."""
    return COMPLIANCE if text.count("<|im_start|> user") + text.count("<|im_start|>user") == 3 else REFUSAL


@pytest.mark.parametrize(("turns", "last"), [(2, REFUSAL), (3, COMPLIANCE)])
def test_the_last_answer_of_a_conversation_is_the_one_that_counts(turns, last):
    answers = answers_of(told_so_far, {"harmful": rows("h", 2)}, [Stairs(turns)])
    asked = [row for row in answers.rows if row.suite == "stairs"]
    assert [row.answer for row in asked] == [last, last] and [row.index for row in asked] == [0, 1]
    assert [turn.content for turn in asked[1].asked] == ["h 1", *[REFUSAL, "And then?"] * (turns - 1)]


def test_a_conversation_that_was_written_beforehand_is_asked_whole():
    seen = []
    answers_of(lambda text: seen.append(text) or REFUSAL, {"harmful": rows("h", 1)}, [Replay()])
    assert all(part in seen[1] for part in ("Do you know boxes?", "I do.", "h 0")) and "I do." not in seen[0]


def test_turns_of_all_conversations_are_asked_together():
    generate = model(told_so_far)
    ask(suites_of(named(Stairs(3), Direct()), {"harmful": rows("h", 4)}), victim(generate))
    assert generate.calls == [8, 4, 4]


@dataclass(frozen=True)
class Searching(Attack):
    """An attack that needs the model itself."""

    name = "searching"
    needs_model = True
    counts = False
    each_epoch = False

    def play(self, prompts, victim):
        asked = [case(place, tiny.ask(f"{prompt.prompt[0].content}!"), victim.chat) for place, prompt in enumerate(prompts)]
        texts = [victim.chat.decode(ids) for ids in victim.generate([one.input_ids for one in asked])]
        return list(zip(asked, texts, strict=True))


def test_an_attack_that_needs_the_model_plays_after_all_others_were_asked_and_keeps_its_place():
    generate = model(lambda text: COMPLIANCE if "!" in text else REFUSAL)
    data = {"harmful": rows("h", 3), "borderline": rows("b", 2)}
    answers = ask(suites_of(named(Searching(), Direct()), data), victim(generate))
    assert generate.calls == [3 + 2, 3]
    assert [(row.suite, row.index) for row in answers.rows] == [
        *(("direct", n) for n in range(3)), *(("searching", n) for n in range(3)), *(("borderline", n) for n in range(2))
    ]  # fmt: skip
    assert {(row.answer, row.asked[0].content[-1]) for row in answers.rows if row.suite == "searching"} == {(COMPLIANCE, "!")}


def test_what_was_saved_is_read_back(tmp_path):
    data = {
        "harmful": rows("h", 2, harmful=HARMFUL, kind="größe 🙂"),
        "utility": rows("u", 2, reference="A box.", accept=("box", "crate")),
    }
    answers = answers_of(told_so_far, data, [Direct(), Prefill((2,)), Stairs(2)])
    answers.save(tmp_path)
    again = Answers.load(tmp_path)
    assert again.rows == answers.rows and again.questions()[0].answer == answers.rows[0].answer
    named = {key: replace(prompt, identity=replace(prompt.identity, source=key[0])) for key, prompt in answers.prompts.items()}
    assert again.prompts == named
    assert [one.prefilled for one in again.questions()] == [row.prefilled for row in answers.rows]


def test_answers_of_before_attacks_had_files_of_their_own_are_read(tmp_path):
    answers = answers_of(lambda text: REFUSAL, {"harmful": rows("h", 2)})
    answers.save(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    old = [{key: value for key, value in line.items() if key != "source"} for line in lines]
    (tmp_path / ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in old))
    assert Answers.load(tmp_path).rows == answers.rows and all(len(line) == len(lines[0]) - 1 for line in old)


def setting():
    chat = ChatFormat(tiny.byte_tokenizer(tiny.LLAMA3))
    tiny_model = tiny.llama(len(chat.tokenizer))
    prompts = [chat.prompt_ids(tiny.ask("x" * n)) for n in range(1, 8)]
    return chat, tiny_model, prompts, greedy(tiny_model, prompts, chat.tokenizer.pad_token_id, chat.end_ids[-1], 6)


def test_one_process_answers_everything_in_order():
    chat, tiny_model, prompts, expected = setting()
    assert generator(tiny_model, chat, GREEDY, local_context())(prompts) == expected


class Ranks:
    """Rank `rank` of three: what each would give the others is kept in `parts`."""

    world_size, device = 3, torch.device("cpu")

    def __init__(self, rank, parts):
        self.rank, self.parts, self.asked = rank, parts, 0

    def check_stop(self):
        self.asked += 1

    def gather(self, value):
        self.parts[self.rank] = value
        return list(self.parts.values())


def test_every_rank_answers_its_share_and_the_last_one_has_all_answers():
    chat, tiny_model, prompts, expected = setting()
    parts = {}
    ranks = [Ranks(rank, parts) for rank in range(3)]
    for rank in ranks[:2]:
        with pytest.raises(KeyError):  # the later ranks' answers aren't there yet
            generator(tiny_model, chat, GREEDY, rank)(prompts)
    assert generator(tiny_model, chat, GREEDY, ranks[2])(prompts) == expected
    assert [rank.asked for rank in ranks] == [2, 2, 2]  # a rank that asks less often than others would wait for ever
    assert [len(part) for part in parts.values()] == [3, 2, 2]  # batches of 2, 2, 2, 1, in turn


@pytest.mark.parametrize("fixed", [None, 2])
def test_an_attempt_goes_on_from_the_batches_that_an_earlier_one_has_finished(tmp_path, monkeypatch, fixed):
    """Batches of 2, 2, 2, 1; the first attempt is ended behind the second, and its last line is torn: 5 prompts are left."""
    chat, tiny_model, prompts, expected = setting()
    decoding, asked = replace(GREEDY, fixed_batch=fixed), []

    def counted(model, batch, *others):
        asked.append(len(batch))
        return greedy(model, batch, *others)

    monkeypatch.setattr("raysafe.evaluation.answering.greedy", counted)
    stops = iter([False, False, True])
    ended = replace(local_context(), stop_asked=lambda: next(stops))
    with pytest.raises(StageStopped):
        generator(tiny_model, chat, decoding, ended, tmp_path)(prompts)
    (part,) = tmp_path.glob("*/*.jsonl")
    part.write_text(part.read_text()[:-9])
    again = generator(tiny_model, chat, decoding, local_context(), tmp_path)
    assert again(prompts) == expected and asked == [2, 2] + [2, 2, 1]
    assert again([*prompts, prompts[0]]) == [*expected, expected[0]] and len(asked) == 5
    assert generator(tiny_model, chat, decoding, local_context(), tmp_path)(prompts) == expected and len(asked) == 5


def test_in_bf16_a_batch_is_answered_anew_as_a_whole():
    """What it holds has a hand in the text, so it holds what it held."""
    prompts = {key: [0] * length for length, key in enumerate("abcd", start=1)}
    fixed, free = Decoding(6, "bf16", fixed_batch=2), Decoding(6, batch_size=2)
    assert _to_do(prompts, {"a": 0, "b": 0, "c": 0}, fixed, 1) == [["c", "d"]]
    assert _to_do(prompts, {"a": 0, "b": 0, "c": 0}, free, 1) == [["d"]]


def test_a_stop_is_heard_between_two_batches():
    chat, tiny_model, prompts, _ = setting()
    asked = iter([False, False, True])
    with pytest.raises(StageStopped):
        generator(tiny_model, chat, GREEDY, replace(local_context(), stop_asked=lambda: next(asked)))(prompts)
    assert list(asked) == []


def test_float32_batches_are_small_enough_for_every_worker_to_have_one():
    assert [len(batch) for batch in Decoding(6, batch_size=64).batches([1] * 10, workers=4)] == [3, 3, 3, 1]


@pytest.mark.parametrize("workers", [1, 4])
def test_bf16_batches_are_the_same_on_any_number_of_workers(workers):
    decoding = Decoding(6, "bf16", fixed_batch=4, batch_size=4)
    assert list(decoding.batches([3, 1, 2, 5, 4, 6], workers)) == [[1, 2, 0, 4], [3, 5]]


def test_a_model_that_an_attack_has_changed_is_asked_anew():
    """Without a workspace nothing is remembered: relearning asks the same prompts of other weights."""
    chat, tiny_model, prompts, expected = setting()
    generate = generator(tiny_model, chat, GREEDY, local_context())
    assert generate(prompts) == expected
    with torch.no_grad():
        for weight in tiny_model.parameters():
            weight.neg_()
    assert generate(prompts) == greedy(tiny_model, prompts, chat.tokenizer.pad_token_id, chat.end_ids[-1], 6) != expected
