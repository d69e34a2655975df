"""Chat templates of the model families in small, on small real tokenizers, with what they render written out by hand."""

import json
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from raysafe.data.chat import ChatFormat

SENTENCES = ("How do I open the box?", "Sure, here is how: first open the lid.", "I cannot help with that. 1 2 3")
SPECIAL = (
    "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>",
    "<|end|>", "<|user|>", "<|assistant|>", "<|return|>", "<|start|>", "<|message|>", "<|channel|>", "<|User|>", "<|Assistant|>",
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """What it renders for "How?" and "Sure, so.": the prompt, what stands before the answer, and what ends its turn."""

    template: str
    prompt: str
    end: str
    opening: str = ""
    tokenizer: str = "bytes"
    trims: bool = False


EACH = "{% for m in messages %}"
GENERATE = "{% if add_generation_prompt %}"
HEADER = "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
CHATML = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"

FAMILIES = {
    "llama2": Family(
        "{{ bos_token }}" + EACH + "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}",
        "<s>[INST] How? [/INST]", " </s>", " ", "pieces", trims=True,
    ),
    "mistral": Family(
        "{{ bos_token }}" + EACH + "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}",
        "<s>[INST] How?[/INST]", "</s>", " ", "pieces",
    ),
    "mistral on bytes": Family(
        "{{ bos_token }}" + EACH + "{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + '[/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}",
        "<s>[INST]How?[/INST]", "</s>", " ",
    ),
    "vicuna": Family(
        "{{ bos_token }}" + EACH + "{{ ('USER: ' if m['role'] == 'user' else ' ASSISTANT: ') + m['content'] "
        "+ ('' if m['role'] == 'user' else eos_token) }}{% endfor %}" + GENERATE + "{{ ' ASSISTANT:' }}{% endif %}",
        "<s>USER: How? ASSISTANT:", "</s>", " ", "pieces",
    ),
    "llama3": Family(
        "{{ bos_token }}" + EACH + HEADER + "{% endfor %}" + GENERATE
        + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        "<s><|start_header_id|>user<|end_header_id|>\n\nHow?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>", trims=True,
    ),
    "llama3.2, which knows the day, and tools": Family(
        "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = "
        "strftime_now('%d %b %Y') %}{% else %}{% set date_string = 'never' %}{% endif %}{% endif %}"
        "{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n' }}"
        "{% if tools is not none and tools is defined %}{{ 'Tools: ' + tools | tojson }}{% endif %}{{ '<|eot_id|>' }}"
        + EACH + HEADER + "{% endfor %}" + GENERATE + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n<|eot_id|><|start_header_id|>user"
        "<|end_header_id|>\n\nHow?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>", trims=True,
    ),
    "gemma3": Family(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
        "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' "
        "+ (first if loop.first else '') + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        + GENERATE + "{{ '<start_of_turn>model\n' }}{% endif %}",
        "<s><start_of_turn>user\nHow?<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>", trims=True,
    ),
    "chatml": Family(
        EACH + CHATML + "{% endfor %}" + GENERATE + "{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>",
    ),
    "qwen3, whose answers come after a thought": Family(
        EACH + "{% if m['role'] == 'assistant' %}{% set said = m['content'].split('</think>')[-1].lstrip('\n') %}"
        "{% if '</think>' in m['content'] %}{% set thought = m['content'].split('</think>')[0] %}"
        "{% set thought = thought.split('<think>')[-1].strip('\n') %}"
        "{% else %}{% set thought = '' %}{% endif %}{{ '<|im_start|>assistant\n' }}"
        "{{ ('<think>\n' + thought + '\n</think>\n\n' if loop.last else '') + said + '<|im_end|>\n' }}"
        "{% else %}" + CHATML + "{% endif %}{% endfor %}" + GENERATE + "{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", "<think>\n\n</think>\n\n",
    ),
    "r1, whose prompt opens a thought that its answers lose": Family(
        "{{ bos_token }}" + EACH + "{% if m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}{% else %}"
        "{{ '<|Assistant|>' + m['content'].split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
        + GENERATE + "{{ '<|Assistant|><think>\n' }}{% endif %}",
        "<s><|User|>How?<|Assistant|><think>\n", "</s>",
    ),
    "phi3": Family(
        EACH + "{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        + GENERATE + "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        "<|user|>\nHow?<|end|>\n<|assistant|>\n", "<|end|>",
    ),
    "gpt-oss, whose answers have a channel": Family(
        EACH + "{{ '<|start|>' + m['role'] + ('<|channel|>final' if m['role'] == 'assistant' else '') + '<|message|>' }}"
        "{{ m['content'] + ('<|return|>' if loop.last and m['role'] == 'assistant' else '<|end|>') }}{% endfor %}"
        + GENERATE + "{{ '<|start|>assistant' }}{% endif %}",
        "<|start|>user<|message|>How?<|end|><|start|>assistant", "<|return|>", "<|channel|>final<|message|>",
    ),
    "an end that begins with a newline": Family(
        EACH + "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '\n<|im_end|>\n' }}{% endfor %}"
        + GENERATE + "{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_start|>user\nHow?\n<|im_end|>\n<|im_start|>assistant\n", "\n<|im_end|>",
    ),
}  # fmt: skip


@lru_cache
def chat(name):
    family = FAMILIES[name]
    return ChatFormat((byte_level if family.tokenizer == "bytes" else piece_level)(family.template))


def byte_level(template):
    """As Llama-3's and Qwen's: any text falls into bytes, a space is part of the word behind it, newlines stay together."""
    core = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        (*SENTENCES, "a\n\nb\n\n") * 4, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", chat_template=template, clean_up_tokenization_spaces=False
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def piece_level(template):
    """As Llama-2's: a space is part of the piece behind it, the first piece has one anyway, what is unknown falls into bytes."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    learned.train_from_iterator(SENTENCES * 4, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    merges = [tuple(pair) for pair in model["merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    core = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>", chat_template=template,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
