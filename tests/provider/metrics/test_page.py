"""The page of counters: complete, by rank, and equal to what clients were told."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest


def values(text: str, name: str, **labels: str) -> list[float]:
    """Return the samples of a name whose labels include `labels`."""
    found = re.findall(rf"^{re.escape(name)}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return [float(value) for given, value in found if all(each in given for each in wanted)]


def page(desk: SimpleNamespace, requests: int, **fleet: Any) -> tuple[str, list[dict[str, Any]]]:
    async def main() -> tuple[str, list[dict[str, Any]]]:
        async with desk.serving(desk.fleet(**fleet)) as served:
            bodies = [{"prompt": f"{at:04}" + "x" * 400, "max_tokens": 5} for at in range(requests)]
            answers = await asyncio.gather(
                *(served.client.post("/v1/completions", json=body) for body in bodies)
            )
            text = (await served.client.get("/metrics")).text
            return text, [answer.json() for answer in answers]

    return desk.run(main)  # type: ignore[no-any-return]


def test_each_rank_counts_its_own(desk: SimpleNamespace) -> None:
    replicas = [{"count": 2, "parallelism": {"dp": 2}}]
    text, answers = page(desk, 40, replicas=replicas, router="round_robin")
    for engine in "0123":
        assert values(text, "vllm:request_success_total", engine=engine, finished_reason="length") == [10]
        assert values(text, "vllm:e2e_request_latency_seconds_count", engine=engine) == [10]
    told = sum(answer["usage"]["prompt_tokens"] for answer in answers)
    assert (
        sum(values(text, "vllm:prompt_tokens_total"))
        == told
        == sum(values(text, "vllm:prompt_tokens_by_source_total"))
    )
    # Tokens of steps: every prompt, as nothing was cached, and every token but those of the last step.
    assert sum(values(text, "vllm:generation_tokens_total")) == 200


def test_the_parts_of_a_request_add_up(desk: SimpleNamespace) -> None:
    cost = {"prefill_tokens_per_s": 20_000, "decode_base_s": 0.002}
    text, _ = page(desk, 6, cost=cost, replicas=[{"max_sequences": 2}])
    queue, prefill, decode, inference, whole = (
        sum(values(text, f"vllm:{name}_seconds_sum"))
        for name in (
            "request_queue_time",
            "request_prefill_time",
            "request_decode_time",
            "request_inference_time",
            "e2e_request_latency",
        )
    )
    assert prefill + decode == pytest.approx(inference, abs=1e-6)
    assert queue + inference == pytest.approx(whole, abs=1e-6)
    # Two at a time, so that four wait: of 5 ms of prompt and four steps of 2 ms each.
    assert queue > 0.02
    assert sum(values(text, "vllm:time_to_first_token_seconds_sum")) == pytest.approx(
        queue + prefill, abs=1e-6
    )


def test_a_full_queue_is_no_error_of_the_engine(desk: SimpleNamespace) -> None:
    text, answers = page(
        desk, 6, cost={"decode_base_s": 0.01}, max_waiting=1, replicas=[{"max_sequences": 1}]
    )
    refused = sum("error" in answer for answer in answers)
    assert values(text, "swarm:requests_refused_total", code="429") == [refused]
    assert values(text, "vllm:request_success_total", finished_reason="error") == [0]
    assert refused


def test_a_server_that_is_late_says_so(desk: SimpleNamespace) -> None:
    async def main() -> tuple[Any, Any]:
        async with desk.serving(desk.fleet(serving={"lateness_s_max": 1e-9})) as served:
            before = (await served.client.get("/health")).json()
            await served.client.post("/v1/completions", json={"prompt": "x", "max_tokens": 2})
            return before, (await served.client.get("/health")).json()

    before, after = desk.run(main)
    assert before == {}
    assert "late" in after["warning"]
