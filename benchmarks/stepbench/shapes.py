"""The model shapes that a step is measured on: Llama's architecture with random weights."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class Shape:
    """Sizes of one model; `tied` shares the embedding with the head."""

    name: str
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    kv_heads: int | None = None
    head_size: int | None = None
    tied: bool = True

    @property
    def attention_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * (self.head_size or self.hidden // self.heads)

    @property
    def head_parameters(self) -> int:
        """Parameters of the output layer, which the embedding has too."""
        return self.hidden * self.vocabulary

    @property
    def body_parameters(self) -> int:
        """Parameters of all layers' matrices; norms are left out, they multiply no matrix."""
        kv_width = self.attention_width * (self.kv_heads or self.heads) // self.heads
        attention = 2 * self.hidden * (self.attention_width + kv_width)
        return self.layers * (attention + 3 * self.hidden * self.feed_forward)

    @property
    def parameters(self) -> int:
        """Parameters in all, norms included."""
        norms = (2 * self.layers + 1) * self.hidden
        return self.body_parameters + self.head_parameters * (1 if self.tied else 2) + norms


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", hidden=256, layers=4, heads=4, feed_forward=688, vocabulary=24_576),
        Shape("body", hidden=512, layers=8, heads=8, feed_forward=1_376, vocabulary=8_192),
        Shape("vocabulary", hidden=256, layers=4, heads=4, feed_forward=688, vocabulary=65_536),
        Shape("tiny", hidden=32, layers=2, heads=2, feed_forward=64, vocabulary=256),
        Shape("gemma-2-2b", hidden=2_304, layers=26, heads=8, kv_heads=4, head_size=256, feed_forward=9_216, vocabulary=256_000),
        Shape("llama-3-8b", 4_096, 32, 32, 14_336, 128_256, kv_heads=8, tied=False),
    )
}
CPU_SHAPES = ("small", "body", "vocabulary")
"""About 9 M parameters; a large body over a small vocabulary; a large vocabulary over a small body, as Gemma's."""


def random_model(shape: Shape, seed: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """An untrained model of this shape, made on its device. The pad token is 0."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads or shape.heads, head_dim=shape.attention_width // shape.heads,
        intermediate_size=shape.feed_forward, tie_word_embeddings=shape.tied, max_position_embeddings=2048,
        pad_token_id=0, bos_token_id=None, eos_token_id=1, dtype=dtype,
    )  # fmt: skip
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
