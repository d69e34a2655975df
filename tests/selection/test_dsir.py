"""DSIR's scores: against the formula by hand, and against the library's own resampling."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from pools import Rows

from raysafe.errors import ConfigError, DataError
from raysafe.selection import Dsir

pytest.importorskip("data_selection", reason="an extra: pip install 'raysafe[dsir]'")

PROMPTS = ("open box", "lid key", "a b c", "open lid", "box box", "c d", "key", "b d")
TEXTS = [f"{prompt}\nanswer {place % 3}" for place, prompt in enumerate(PROMPTS)]
TARGET = [f"open box\nanswer {place}" for place in range(3)]


class Texts(Rows):
    """Every third row is usable, so that a row's place among all and among the usable ones differ."""

    target = TARGET

    @property
    def places_K(self):
        return 3 * torch.arange(len(TEXTS))

    def texts(self):
        return TEXTS

    def safe_texts(self):
        return self.target


def ranked(settings, seed=0):
    return settings.rank(Texts(3 * len(TEXTS), seed))


def scores(settings, seed=0):
    return ranked(settings, seed).scores_N[::3]


def test_words_alone_by_hand():
    """Row texts "a b" and "c b": p_D is (1, 2, 1) / 4 over a, b, c; the target "a b" gives (1, 1, 0) / 2. Each plus 1e-8:
    a: log 2, b: 0, c: log(1e-8 / .25). Buckets are many, so that no two words share one."""
    got, words = Dsir(ngrams=1, buckets=1_000_003, noise=False).weighed(["a\nb", "c\nb"], ["a\nb"])
    assert got.tolist() == pytest.approx([math.log(2), math.log(1e-8 / 0.25)], rel=1e-6) and words.tolist() == [2, 2]


def test_pairs_of_words_count_too():
    """As above, and of the pairs "a b" alone is in the target: p_D 1/6 each of a, c, "a b", "c b", 2/6 of b; target 1/3 each of
    a, b, "a b": 2 log 2 + log 1."""
    got, _ = Dsir(buckets=1_000_003, noise=False).weighed(["a\nb", "c\nb"], ["a\nb"])
    assert got[0].item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_noise_is_gumbels_and_decided_by_the_seed():
    noise = scores(Dsir(), 5) - scores(Dsir(noise=False), 5)
    # the noise is a difference of scores of up to 100 times its size, in float64: 1e-14 becomes 1e-12, beside a small noise 1e-9
    expected = -np.log(-np.log(1 - np.random.RandomState(5).random_sample(len(TEXTS))))
    np.testing.assert_allclose(noise, expected, rtol=1e-8)
    assert torch.equal(scores(Dsir(), 5), scores(Dsir(), 5)) and not torch.equal(scores(Dsir(), 5), scores(Dsir(), 6))


def test_numpys_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()
    scores(Dsir(), 1)
    assert (np.random.get_state()[1] == before).all()


def resampled(settings, seed, count, folder):
    """Row ids that the library itself draws."""
    dsir = settings.fitted(TEXTS, TARGET, folder)
    state = np.random.get_state()
    np.random.seed(seed)
    dsir.resample(str(folder / "out"), count, cache_dir=str(folder / "cache"), top_k=not settings.noise)
    np.random.set_state(state)
    lines = next((folder / "out").rglob("0.jsonl")).read_text().splitlines()
    return {json.loads(line)["row"] for line in lines}


@pytest.mark.parametrize("settings", [Dsir(), Dsir(ngrams=1, buckets=50), Dsir(noise=False), Dsir(min_words=4)])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_top_of_our_scores_is_what_the_library_resamples(settings, count, tmp_path, capfd):
    said = ranked(settings, 7)
    ours = [place for place in said.scores_N[::3].argsort(descending=True).tolist() if 3 * place not in said.left_out]
    assert set(ours[:count]) == resampled(settings, 7, count, tmp_path)


def test_short_rows_stay_unless_a_minimum_is_set():
    """Prompt and answer have 3 to 5 words here, and the library by itself would drop what has fewer than 100."""
    assert ranked(Dsir()).left_out == {}
    reasons = ranked(Dsir(min_words=5)).left_out
    assert set(reasons) == {0, 3, 9, 12, 15, 18, 21} and reasons[18] == "3 words, fewer than selector.min_words, 5"


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_trusted_rows_without_a_word_are_refused():
    with pytest.raises(DataError, match="no words to count"):
        Dsir().weighed(TEXTS, [" "])


def test_the_librarys_progress_is_not_shown(capfd):
    scores(Dsir())
    assert capfd.readouterr() == ("", "")


def test_without_the_library_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "data_selection", None)
    with pytest.raises(ConfigError, match=r"`selector.name`: dsir needs .*pip install 'raysafe\[dsir\]'"):
        Dsir().check()


@pytest.mark.parametrize("wrong", [{"ngrams": 0}, {"buckets": 0}, {"min_words": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Dsir(**wrong)
