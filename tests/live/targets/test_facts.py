import json
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.config.target import TargetConfig
from swarm.live.targets.control import resolve
from swarm.live.targets.facts import ReplyFacts, ServerFacts, reply_facts, server_facts
from tests.live.serving import served
from tests.live.targets.test_control import serve

VLLM = (
    b'vllm:cache_config_info{block_size="32",cache_dtype="auto",engine="0",num_gpu_blocks="4097"} 1.0\n'
    b'vllm:cache_config_info{block_size="32",cache_dtype="auto",engine="1",num_gpu_blocks="4097"} 1.0\n'
)
HYBRID = b'vllm:cache_config_info{block_size="8",num_gpu_blocks="320",kv_cache_size_tokens="463459"} 1\n'
SGLANG = b'sglang:context_len 4096\nsglang:page_size 64\nsglang:max_total_num_tokens{dp_rank="0"} 100000.0\n'
DYNAMO = (
    b'dynamo_frontend_model_context_length{model="m"} 8192\n'
    b'dynamo_frontend_model_kv_cache_block_size{model="m"} 16\n'
    b'dynamo_frontend_model_total_kv_blocks{model="m"} 1000\n'
    b'dynamo_frontend_model_max_num_seqs{model="m"} 3\n'
)
TRTLLM = b'[{"iter":1,"kvCacheStats":{"maxNumBlocks":101,"tokensPerBlock":32}}]'


def models(**more: Any) -> bytes:
    return json.dumps({"data": [{"id": "m", **more}, {"id": "other", "max_model_len": 7}]}).encode()


@pytest.mark.parametrize(
    ("pages", "facts"),
    [
        (
            {b"/v1/models": models(owned_by="vllm", max_model_len=131072), b"/metrics": VLLM},
            {"dialect": "vllm", "context_tokens": 131072, "block_tokens": 32}
            | {"pool_tokens": 2 * 4096 * 32, "engines": 2},
        ),
        ({b"/metrics": HYBRID}, {"pool_tokens": 463459, "block_tokens": 8, "engines": 1}),
        (
            # No prompt fits that the pool does not hold.
            {b"/v1/models": models(max_model_len=10**6), b"/metrics": VLLM},
            {"context_tokens": 4096 * 32},
        ),
        (
            {b"/metrics": SGLANG},
            {"dialect": "sglang", "context_tokens": 4096, "block_tokens": 64, "pool_tokens": 100_000},
        ),
        (
            {
                b"/get_server_info": b'{"max_total_num_tokens":5000,"page_size":1,"context_length":null,'
                b'"max_running_requests":48,"version":"0.5.3","dp_size":2,"api_key":"secret"}'
            },
            {"dialect": "sglang", "block_tokens": 1, "pool_tokens": 10_000, "engines": 2}
            | {"max_sequences": 48, "version": "0.5.3", "context_tokens": None},
        ),
        (
            {
                b"/props": b'{"default_generation_settings":{"n_ctx":2048},"total_slots":4,"build_info":"b"}',
                b"/v1/models": models(meta={"n_ctx_train": 131072}),
            },
            {"dialect": "llama.cpp", "context_tokens": 2048, "max_sequences": 4, "version": "b"},
        ),
        (
            {b"/metrics": DYNAMO},
            {"dialect": "dynamo", "context_tokens": 8192, "block_tokens": 16, "max_sequences": 3}
            | {"pool_tokens": None},
        ),
        ({b"/metrics": TRTLLM}, {"block_tokens": 32, "pool_tokens": 3232}),
        (
            {b"/info": b'{"max_total_tokens":4096,"version":"3.0"}'},
            {"dialect": "tgi", "context_tokens": 4096},
        ),
        (
            {b"/v1/models": models(context_window=131072)},
            {"context_tokens": 131072, "models": ("m", "other")},
        ),
        # Nothing that a server says makes the question fail.
        (
            {
                b"/v1/models": b"[1]",
                b"/metrics": b"\xff{}",
                b"/props": b"[",
                b"/info": b'{"max_total_tokens":-1}',
            },
            {"models": None, "context_tokens": None, "has_metrics": True},
        ),
    ],
)
def test_a_server_tells_what_it_is(
    lab: SimpleNamespace, pages: dict[bytes, bytes], facts: dict[str, Any]
) -> None:
    async def main() -> ServerFacts:
        async with lab.serving(serve(pages)) as server:
            return await server_facts(TargetConfig(urls=(server.url,)))

    found = lab.run(main)
    assert {name: getattr(found, name) for name in facts} == facts


def test_servers_that_differ_leave_their_block_size_open(lab: SimpleNamespace) -> None:
    async def main() -> ServerFacts:
        async with (
            lab.serving(serve({b"/metrics": VLLM})) as one,
            lab.serving(serve({b"/metrics": HYBRID})) as other,
        ):
            return await server_facts(TargetConfig(urls=(one.url, other.url)))

    found = lab.run(main)
    assert (found.block_tokens, found.pool_tokens, found.engines) == (None, 2 * 4096 * 32 + 463459, 3)


def test_a_model_that_is_named_has_its_own_length(lab: SimpleNamespace) -> None:
    async def main() -> ServerFacts:
        async with lab.serving(serve({b"/v1/models": models()})) as server:
            return await server_facts(TargetConfig(urls=(server.url,), model="other"))

    assert lab.run(main).context_tokens == 7


def test_doors_that_are_closed_are_told_in_words(lab: SimpleNamespace) -> None:
    async def main() -> ServerFacts:
        return await server_facts(TargetConfig(urls=("http://127.0.0.1:9",)))

    found = lab.run(main)
    assert found.models is None
    assert not found.has_metrics
    assert all("is the server running?" in words for words in found.closed)


def test_the_emulated_provider_tells_everything(lab: SimpleNamespace) -> None:
    fleet = FleetConfig(
        block_tokens=64,
        max_model_len=4096,
        cost=SimpleCostConfig(kv_capacity_tokens=64_000, decode_base_s=0.001),
    )

    async def main(port: int) -> tuple[ServerFacts, ReplyFacts]:
        config = await resolve(TargetConfig(urls=(f"http://127.0.0.1:{port}",)))
        facts = await server_facts(config)
        return facts, await reply_facts(config, facts, nonce="one")

    with served(fleet, 0) as port:
        facts, reply = lab.run(lambda: main(port))
    assert (facts.dialect, facts.context_tokens, facts.block_tokens) == ("swarm", 4096, 64)
    assert (facts.pool_tokens, facts.engines) == (64_000, 1)
    assert (reply.streams, reply.usage, reply.cached_usage, reply.exact_output) == (True,) * 4
