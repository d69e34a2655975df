"""DSIR's scores by the data-selection library: the only file that imports it.

The library keeps its counts in files, drops short texts in silence, draws from numpy's global generator and gives texts back
without their ids. Here it gets rows from memory with their ids, keeps all of them, and its noise has a generator of its own.
"""

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raysafe.data.records import Example
from raysafe.errors import ConfigError, DataError
from raysafe.selection.dsir import Dsir


def library() -> Any:
    """The library's class. Raises ConfigError if it is not installed."""
    try:
        from data_selection import HashedNgramDSIR
    except ImportError as error:
        raise ConfigError(
            f"`selector.name`: dsir needs the data-selection library ({error}); install it with pip install 'raysafe[dsir]'."
        ) from error
    return HashedNgramDSIR


def text_of(row: Example) -> str:
    """What is counted of a row: its turns and its answer, a line each."""
    return "\n".join([*(turn.content for turn in row.prompt), row.response])


def records(rows: Sequence[Example]) -> list[dict[str, Any]]:
    """What the library reads; `row` is the index into the loaded data, so that what it gives back can be told."""
    return [{"row": row.identity.index, "text": text_of(row)} for row in rows]


def fitted(rows: Sequence[Example], target: Sequence[Example], settings: Dsir, folder: Path) -> Any:
    """The library's object with the log importance weight and the words of every row in files under `folder`.

    One process, so that the files' rows are those of `rows`, in order.
    """
    with redirect_stderr(io.StringIO()):  # its progress bars
        dsir = library()(
            raw_datasets=["rows"],
            target_datasets=["target"],
            cache_dir=str(folder),
            raw_load_dataset_fn=lambda _: records(rows),
            target_load_dataset_fn=lambda _: records(target),
            num_proc=1,
            ngrams=settings.ngrams,
            num_buckets=settings.buckets,
            min_example_length=settings.min_words,
        )
        dsir.fit_importance_estimator(num_tokens_to_fit="all")
        dsir.compute_importance_weights()
    return dsir


def dsir_scores(rows: Sequence[Example], target: Sequence[Example], settings: Dsir, seed: int) -> tuple[Tensor, dict[int, str]]:
    """log importance weight (+ noise) of each of the K rows, shape K, float64, and the reason of those that are too short.

    The noise is what the library's `resample` adds after `np.random.seed(seed)`: drawn for the rows that are long enough, in
    order. numpy's global generator is not touched. Raises DataError if one of the two has no words at all.
    """
    with tempfile.TemporaryDirectory() as name:
        dsir = fitted(rows, target, settings, Path(name))
        log_weights_K = np.load(dsir.log_importance_weights_dir / "0.npy")
        words_K = np.load(dsir.perexample_metadata_dir / "0.npy")
    if not np.isfinite(log_weights_K).all():
        raise DataError("dsir: no words to count, neither in the prompts nor in the answers of data.finetune or of data.safe.")
    long_K = words_K >= settings.min_words
    if settings.noise:
        log_weights_K[long_K] += np.random.RandomState(seed % 2**32).gumbel(size=int(long_K.sum()))
    short = {row.identity.index: words for row, words in zip(rows, words_K, strict=True) if words < settings.min_words}
    reasons = {index: f"{words:.0f} words, fewer than selector.min_words, {settings.min_words}" for index, words in short.items()}
    return torch.from_numpy(log_weights_K), reasons
