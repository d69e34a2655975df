"""DSIR: ranking by how much likelier a row's n-grams are in the trusted data (Xie et al., 2023, arXiv:2302.03169).

The computation is the data-selection library's, which this file alone imports, when it is asked for scores. The library keeps
its counts in files, drops short texts in silence, draws from numpy's global generator and gives texts back without their ids.
Here it gets texts from memory with their ids, keeps all of them, and its noise has a generator of its own.
"""

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from raysafe.errors import ConfigError, DataError, require
from raysafe.selection.base import Pool, Reads, RowScores, Selector


@dataclass(frozen=True)
class Dsir(Selector):
    """score_i = log p_safe(z_i) - log p_D(z_i) + g_i, with bags of hashed n-grams for p and Gumbel noise g_i.

    The rows of largest score are then a draw without replacement with probabilities proportional to p_safe / p_D (the paper,
    section 3: importance resampling by the Gumbel top-k trick), and one ranking gives the draw of every size. Defaults are the
    data-selection library's, but for `min_words`.
    """

    name: ClassVar[str] = "dsir"
    reads: ClassVar[frozenset[Reads]] = frozenset({"safe"})

    ngrams: int = 2
    """Longest n-gram: 2 counts words and pairs of words."""
    buckets: int = 10_000
    """Hash buckets that the n-grams share."""
    min_words: int = 0
    """Rows of fewer words are never kept; the library's own default, 100, would drop most chat answers."""
    noise: bool = True
    """Gumbel noise, drawn from the trial's seed; without it the rows of largest weight are kept, which is no resampling."""

    def __post_init__(self) -> None:
        for name in ("ngrams", "buckets"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        require(self.min_words >= 0, "min_words >= 0", self.min_words)

    def check(self) -> None:
        """Raises ConfigError if the library is not installed."""
        _library()

    def rank(self, pool: Pool) -> RowScores:
        """log importance weight (+ noise) of the usable rows; rows that are too short are left out.

        Every worker counts for itself: it is quick and exact. The noise is what the library's `resample` adds after
        `np.random.seed(seed)`: drawn for the rows that are long enough, in order. Raises DataError if there are no words.
        """
        log_weights_K, words_K = self.weighed(pool.texts(), pool.safe_texts())
        long_K = words_K >= self.min_words
        if self.noise:
            log_weights_K[long_K] += gumbel(int(long_K.sum()), pool.seed)
        places = zip(pool.places_K.tolist(), words_K.tolist(), strict=True)
        rule = f"words, fewer than selector.min_words, {self.min_words}"
        short = {place: f"{words:.0f} {rule}" for place, words in places if words < self.min_words}
        return RowScores.of(pool, log_weights_K, short)

    def weighed(self, texts: Sequence[str], target: Sequence[str]) -> tuple[Tensor, Tensor]:
        """log p_target - log p_texts and the number of words of each of the K texts, both shape K, float64."""
        import numpy as np

        with tempfile.TemporaryDirectory() as name:
            dsir = self.fitted(texts, target, Path(name))
            log_weights_K = torch.from_numpy(np.load(dsir.log_importance_weights_dir / "0.npy")).double()
            words_K = torch.from_numpy(np.load(dsir.perexample_metadata_dir / "0.npy")).double()
        if not log_weights_K.isfinite().all():
            raise DataError("dsir: no words to count in the prompts and answers of data.finetune, or in those of data.safe.")
        return log_weights_K, words_K

    def fitted(self, texts: Sequence[str], target: Sequence[str], folder: Path) -> Any:
        """The library's object, with the log importance weight and the words of every text in files under `folder`.

        One process, so that the files' rows are those of `texts`, in order.
        """
        with redirect_stderr(io.StringIO()):  # its progress bars
            dsir = _library()(
                raw_datasets=["rows"],
                target_datasets=["target"],
                cache_dir=str(folder),
                raw_load_dataset_fn=lambda _: _records(texts),
                target_load_dataset_fn=lambda _: _records(target),
                num_proc=1,
                ngrams=self.ngrams,
                num_buckets=self.buckets,
                min_example_length=self.min_words,
            )
            dsir.fit_importance_estimator(num_tokens_to_fit="all")
            dsir.compute_importance_weights()
        return dsir


def gumbel(count: int, seed: int) -> Tensor:
    """So many draws, float64, as numpy's global generator would give them after that seed; it is not touched."""
    import numpy as np

    return torch.from_numpy(np.random.RandomState(seed % 2**32).gumbel(size=count))


def _records(texts: Sequence[str]) -> list[dict[str, Any]]:
    """What the library reads; `row` is the text's place, so that what it gives back can be told."""
    return [{"row": place, "text": text} for place, text in enumerate(texts)]


def _library() -> Any:
    """The library's class. Raises ConfigError if it is not installed."""
    try:
        from data_selection import HashedNgramDSIR
    except ImportError as error:
        raise ConfigError(
            f"`selector.name`: dsir needs the data-selection library ({error}); install it with pip install 'raysafe[dsir]'."
        ) from error
    return HashedNgramDSIR
