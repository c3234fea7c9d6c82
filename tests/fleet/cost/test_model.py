"""What a model's shape comes to, against the figures that its makers publish."""

from __future__ import annotations

import pytest

from swarm.config.catalog import ModelEntry
from swarm.fleet.catalog.read import find_model, models
from swarm.fleet.cost.model import kv_values_per_gpu, kv_values_per_token, weights_of

PUBLISHED_BILLIONS = {
    # Model cards and reports: total and active parameters, in billions as they state them.
    "Llama-3.3-70B": (70.6, None),
    "Llama-3.1-8B": (8.03, None),
    "Qwen3-32B": (32.8, None),
    "Qwen3-235B-A22B": (235, 22),
    "Qwen3-Coder-480B": (480, 35),
    "Qwen3.5-397B-A17B": (397, 17),
    "DeepSeek-V3": (671, 37),
    "Kimi-K2": (1_026, 32),
    "Kimi-K3": (2_780, 104),
    "GLM-4.5": (355, 32),
    "GLM-5": (744, 40),
    "MiniMax-M2.5": (229, 10),
    "MiniMax-M2.7": (229, 10),
    "gpt-oss-120b": (116.8, 5.1),
    "gpt-oss-20b": (20.9, 3.6),
    "Qwen3-8B": (8.2, None),
    "Qwen3-14B": (14.8, None),
    # Its card's 3.3 active count the embedding.
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": (30.5, 3.3 - 0.3),
    "zai-org/GLM-5.2": (744, 40),
    "moonshotai/Kimi-K2.5": (1_026, 32),
    "deepseek-ai/DeepSeek-V4-Flash": (284, 13),
    # Its card counts a next-token layer too.
    "deepseek-ai/DeepSeek-V4-Pro": (1_600 * 61 / 62, 49),
}
KV_BYTES_BF16 = {
    # DeepSeek-V3: 70.272 KB a token in "Insights into DeepSeek-V3" (arXiv 2505.09343, table 1), where
    # Qwen-2.5 72B has 327.680 KB with 80 layers of 8 KV heads of 128, as Llama-3.3-70B has.
    "DeepSeek-V3": 70_272,
    "Llama-3.3-70B": 327_680,
    "Kimi-K2": 70_272,
    "Llama-3.1-8B": 131_072,
    # 2 (keys, values) x 2 bytes x layers x KV heads x head size of the model's config.json:
    "Qwen3-32B": 2 * 2 * 64 * 8 * 128,
    "Qwen3-235B-A22B": 2 * 2 * 94 * 4 * 128,
    "Qwen3-Coder-480B": 2 * 2 * 62 * 8 * 128,
    "GLM-4.5": 2 * 2 * 92 * 8 * 128,
    "MiniMax-M2.5": 2 * 2 * 62 * 8 * 128,
    # Its windowed layers keep 128 tokens, whatever the context.
    "gpt-oss-120b": 2 * 2 * 18 * 8 * 64,
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": 98_304,
    # 30 layers keep a vector of 512 and a key of 128 for every 4 tokens, 31 a vector for every 128.
    "DeepSeek-V4-Pro": 2 * (30 * 640 / 4 + 31 * 512 / 128),
    # 24 of 93 layers have a latent vector of 512 + 64.
    "Kimi-K3": 2 * 24 * 576,
}


@pytest.mark.parametrize("name", PUBLISHED_BILLIONS)
def test_weights_add_up_to_what_is_published(name: str) -> None:
    total, active = PUBLISHED_BILLIONS[name]
    weights = weights_of(find_model(name))
    assert weights.total / 1e9 == pytest.approx(total, rel=0.01)
    if active is not None:
        assert weights.active / 1e9 == pytest.approx(active, rel=0.06)


@pytest.mark.parametrize("name", KV_BYTES_BF16)
def test_a_token_takes_the_published_bytes(name: str) -> None:
    assert 2 * kv_values_per_token(find_model(name)) == KV_BYTES_BF16[name]


def test_kimi_k3_takes_what_vllm_reported_on_8_b300() -> None:
    # inferencex_kimik3_b300_tp8: 42.23 GiB of each GPU hold 3,249,215 tokens in 8 bits; the rest of a
    # token's 13,955 bytes is the state of its linear layers, which vLLM keeps in the same pool.
    reported = 42.23 * 2**30 / 3_249_215
    assert kv_values_per_token(find_model("Kimi-K3")) == pytest.approx(reported, rel=0.01)


@pytest.mark.parametrize(
    ("name", "tp", "copies"),
    [
        ("Llama-3.3-70B", 8, 1),
        ("Llama-3.3-70B", 16, 2),
        ("Qwen3-235B-A22B", 8, 2),
        ("DeepSeek-V3", 8, 8),
        ("Qwen3-32B", 1, 1),
    ],
)
def test_what_cannot_be_cut_is_copied(name: str, tp: int, copies: int) -> None:
    model = find_model(name)
    assert kv_values_per_gpu(model, tp) * tp == copies * kv_values_per_token(model)


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_attention_and_feed_forward_have_the_same_layers(model: ModelEntry) -> None:
    assert sum(layer.layers for layer in model.attention) == sum(layer.layers for layer in model.feed_forward)
