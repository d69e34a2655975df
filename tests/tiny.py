"""Tiny real things: tokenizers trained on a few sentences, chat templates of the common families, a random Llama."""

from functools import lru_cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from raysafe.data.chat import ChatFormat
from raysafe.data.records import Example, Identity, Message, Triple
from raysafe.data.tokens import TokenRow
from raysafe.models.log_probs import frozen_label_log_probs
from raysafe.models.policy import Policy

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] "
    "+ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
TEMPLATES = {"llama3": LLAMA3, "chatml": CHATML, "gemma": GEMMA, "mistral": MISTRAL}
END = {"llama3": "<|eot_id|>", "chatml": "<|im_end|>", "gemma": "<end_of_turn>", "mistral": "</s>"}
SPECIAL = [
    "<s>", "</s>", "<pad>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>",
    "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
]  # fmt: skip
SENTENCES = (
    "How do I open the box?", "Sure, here is how: first open the lid.", "I cannot help with that.", "a\n\n\n\nb\n\n\n\nc",
)  # fmt: skip


@lru_cache
def byte_tokenizer(template=LLAMA3):
    """Byte-level BPE (any text survives a round trip); runs of newlines are merged, as real vocabularies do. Left to itself it
    begins every text with <s>, as Llama's does, though the chat templates bring one."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(SENTENCES * 4, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False))
    core.add_special_tokens(["<s>"])
    begin = [("<s>", core.token_to_id("<s>"))]
    core.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=begin)
    return _hugging_face(core, template)


@lru_cache
def word_tokenizer(template=CHATML):
    """One token a word or punctuation mark; decoding joins by spaces."""
    core = Tokenizer(models.WordLevel(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.train_from_iterator(SENTENCES, trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False))
    return _hugging_face(core, template)


def _hugging_face(core, template):
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


@lru_cache
def chat(family="llama3"):
    return ChatFormat(byte_tokenizer(TEMPLATES[family]))


def llama(vocabulary=40, seed=0):
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=None, eos_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


class _Norm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, hidden):
        return self.weight * hidden * torch.rsqrt(hidden.square().mean(dim=-1, keepdim=True) + self.eps)


class _Rotation(torch.nn.Module):
    def __init__(self, rotation):
        super().__init__()
        self.frequencies = rotation.inv_freq.double()

    def forward(self, hidden, position_ids):
        angles = (position_ids[..., None] * self.frequencies).repeat(1, 1, 2)
        return angles.cos(), angles.sin()


def exact(model):
    """A Llama in float64 throughout; transformers' own goes through float32 in its norms and rotations whatever its dtype."""
    kinds = {"LlamaRMSNorm": _Norm, "LlamaRotaryEmbedding": _Rotation}
    for name, module in list(model.named_modules()):
        if type(module).__name__ in kinds:
            model.set_submodule(name, kinds[type(module).__name__](module))
    return model.double()


def exact_llama(vocabulary=40, seed=0):
    """`llama` in float64 throughout."""
    return exact(llama(vocabulary, seed))


def log_probs(model, rows):
    """Label log-probabilities of every row under a model, the plain padded way."""
    return frozen_label_log_probs(Policy(model, "padded"), rows, 8)


def ask(text):
    return (Message("user", text),)


def example(index, prompt="How do I open the box?", response="open the lid.", unsafe=None):
    return Example(Identity("rows.jsonl", index), ask(prompt), response, None, unsafe)


def triple(index=0, safe="I cannot help.", harmful="Sure, here is how: first open the lid.", prefix=None):
    return Triple(Identity("triples.jsonl", index), ask(f"How do I open box {index}?"), safe, harmful, prefix)


def token_rows(count, vocabulary=40, seed=0, low=3, high=9):
    """Random token rows of random lengths; ids start at 2, so that neither padding nor the end of turn is among them."""
    draw = torch.Generator().manual_seed(seed)

    def number(a, b):
        return int(torch.randint(a, b, (1,), generator=draw))

    rows = []
    for index in range(count):
        length = number(low, high)
        ids = tuple(number(2, vocabulary) for _ in range(length))
        rows.append(TokenRow(index, ids, number(1, length)))
    return rows
