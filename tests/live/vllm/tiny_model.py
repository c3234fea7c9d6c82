"""Write a tiny Llama for vLLM: `tiny_model.py FOLDER CONTEXT_TOKENS WIDTH LAYERS`, run by vLLM's interpreter.

The tokenizer splits bytes as real ones do: a byte-level BPE, trained on a small text.
"""

from __future__ import annotations

import json
import random
import string
import sys
from pathlib import Path

HEAD_SIZE, VOCABULARY = 32, 4_096
SPECIAL = ["<pad>", "<s>", "</s>"]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def words() -> list[str]:
    """Return lines of made-up words: what the merges are learned from."""
    chance = random.Random(1)
    known = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9))) for _ in range(3_000)]
    return [" ".join(chance.choices(known, k=40)) for _ in range(2_000)]


def write(folder: Path, context_tokens: int, width: int, layers: int) -> None:
    """Write configuration and tokenizer; weights are dummies that vLLM draws itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(words(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_SIZE,
        "num_key_value_heads": 1,
        "head_dim": HEAD_SIZE,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": context_tokens,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **ids,
    }
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": TEMPLATE}
    named |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_tokens}
    for name, data in (("config", config), ("generation_config", ids), ("tokenizer_config", named)):
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
