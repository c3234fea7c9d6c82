"""The provider through clients that are not ours: what it answers, and that hits follow from content."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from swarm.live.targets.counters import read_counters

TEXT = "the quick brown fox jumps over the lazy dog, "
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def test_an_openai_client_streams_a_chat(desk: SimpleNamespace) -> None:
    async def main() -> tuple[str, Any, str]:
        async with desk.serving() as served:
            client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none")
            model = (await client.models.list()).data[0].id
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": TEXT}], max_completion_tokens=7, **USAGE
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            reason = next(c.choices[0].finish_reason for c in reversed(chunks) if c.choices)
            await client.close()
            return text, chunks[-1].usage, reason

    text, usage, reason = desk.run(main)
    assert len(text) == 7 * 4
    assert (usage.prompt_tokens, usage.completion_tokens) == (-(-len(TEXT) // 4), 7)
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert reason == "length"


def test_an_openai_client_gets_its_errors_by_class(desk: SimpleNamespace) -> None:
    async def main() -> list[type]:
        config = desk.fleet(max_model_len=100, max_waiting=1, retry_after_s=3, cost={"decode_base_s": 10})
        found: list[type] = []
        async with desk.serving(config, key="secret") as served:
            for key, prompt in (("wrong", "a"), ("secret", "a" * 4000)):
                client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)
                try:
                    await client.completions.create(model="m", prompt=prompt, max_tokens=1)
                except openai.APIStatusError as error:
                    found.append(type(error))
                await client.close()
        return found

    assert desk.run(main) == [openai.AuthenticationError, openai.BadRequestError]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", ["chat", "completions", "ids"])
def test_streamed_or_whole_the_answer_is_the_same_length_and_usage(
    desk: SimpleNamespace, api: str, stream: bool
) -> None:
    async def main() -> tuple[str, dict[str, Any], int]:
        async with desk.serving() as served:
            path, body = _ask(api, TEXT * 4, 9)
            body |= USAGE if stream else {}
            response = await served.client.post(path, json=body)
            assert response.status_code == 200
            if not stream:
                answer = response.json()
                choice = answer["choices"][0]
                return choice.get("text") or choice["message"]["content"], answer["usage"], 9
            events = desk.events(response.text)
            choices = [event["choices"][0] for event in events if event["choices"]]
            said = [choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices]
            return "".join(said), events[-1]["usage"], sum(map(bool, said))

    text, usage, events_count = desk.run(main)
    prompt_tokens = 4 * len(TEXT) if api == "ids" else len(TEXT)
    assert len(text) == 9 * 4
    assert events_count == 9
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (prompt_tokens, 9)


@pytest.mark.parametrize("api", ["chat", "completions", "ids"])
def test_a_prompt_that_echoes_a_reply_hits_all_but_its_last_token(desk: SimpleNamespace, api: str) -> None:
    async def main() -> list[tuple[int, int]]:
        async with desk.serving() as served:
            found = []
            said: list[Any] = []
            for _ in range(4):
                path, body = _ask(api, TEXT * 4, 14, said)
                answer = (await served.client.post(path, json=body)).json()
                choice = answer["choices"][0]
                said.append(choice.get("token_ids") or choice.get("text") or choice["message"]["content"])
                details = answer["usage"]["prompt_tokens_details"]
                found.append((answer["usage"]["prompt_tokens"], details["cached_tokens"]))
            return found

    first, *later = desk.run(main)
    assert first[1] == 0
    # Each later prompt is all that was sent and said before: 14 tokens more, of which 13 were computed.
    assert later == [(length, (length - 1) // 4 * 4) for length in (first[0] + 14 * k for k in (1, 2, 3))]


def test_a_prefix_is_hit_to_the_block_whoever_sends_it(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving() as served:
            found = []
            for prompt in (
                "a" * 16 * 5 + "b" * 16,
                "a" * 16 * 5 + "c" * 16,
                "a" * 16 * 3 + "d" * 90,
                "a" * 81,
            ):
                answer = await served.client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 1})
                found.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
            return found

    # Blocks of 4 tokens, 16 bytes: five shared, three shared, and five of five and a token.
    assert desk.run(main) == [0, 20, 12, 20]


def test_tools_are_part_of_the_prompt(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving() as served:
            messages = [{"role": "user", "content": "hi"}]
            tools = [{"type": "function", "function": {"name": "read", "parameters": {}}}]
            bodies = [{"messages": messages, "max_tokens": 1}, {"messages": messages, "tools": tools}]
            answers = [await served.client.post("/v1/chat/completions", json=body) for body in bodies]
            return [answer.json()["usage"]["prompt_tokens"] for answer in answers]

    plain, with_tools = desk.run(main)
    assert plain == 1
    assert with_tools > 10


def test_metrics_agree_with_what_usage_said(desk: SimpleNamespace) -> None:
    async def main() -> tuple[Any, int, int, int, str]:
        async with desk.serving() as served:
            prompts = cached = outputs = 0
            for count in range(1, 8):
                body = {"prompt": TEXT * count, "max_tokens": count}
                usage = (await served.client.post("/v1/completions", json=body)).json()["usage"]
                prompts += usage["prompt_tokens"]
                cached += usage["prompt_tokens_details"]["cached_tokens"]
                outputs += usage["completion_tokens"]
            text = (await served.client.get("/metrics")).text
            return read_counters([text]), cached, prompts, outputs, text

    counters, cached, prompts, outputs, text = desk.run(main)
    assert (counters.hit_tokens, counters.query_tokens, counters.output_tokens) == (cached, prompts, outputs)
    assert 'vllm:time_to_first_token_seconds_count{engine="0",model_name="fleet"} 7' in text
    assert f'vllm:inter_token_latency_seconds_count{{engine="0",model_name="fleet"}} {outputs - 7}' in text


def test_a_client_that_leaves_gives_its_request_up(desk: SimpleNamespace) -> None:
    async def main() -> tuple[str, str]:
        async with desk.serving(desk.fleet(cost={"decode_base_s": 3600.0})) as served:
            body = b'{"prompt":"abcdabcd","max_tokens":5,"stream":true}'
            reader, writer = await asyncio.open_connection("127.0.0.1", served.provider.port)
            writer.write(desk.request("/v1/completions", body))
            await reader.readuntil(b"\r\n\r\n")
            before = (await served.client.get("/metrics")).text
            writer.transport.abort()
            after = before
            while 'reason="abort"} 0' in after:
                after = (await served.client.get("/metrics")).text
            return before, after

    before, _ = desk.run(main)
    assert 'vllm:num_requests_running{engine="0",model_name="fleet"} 1' in before


def test_a_full_queue_is_answered_with_a_time_to_wait(desk: SimpleNamespace) -> None:
    async def main() -> Any:
        config = desk.fleet(
            cost={"decode_base_s": 3600.0},
            max_waiting=1,
            retry_after_s=2.5,
            replicas=[{"max_sequences": 1, "max_batched_tokens": 100}],
        )
        async with desk.serving(config) as served:
            body = {"prompt": "abcdabcd", "max_tokens": 5}
            asks = [asyncio.ensure_future(served.client.post("/v1/completions", json=body)) for _ in range(3)]
            done, waiting = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
            for each in waiting:
                each.cancel()
            return next(iter(done)).result()

    response = desk.run(main)
    assert response.status_code == 429
    assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("3", "2500")
    assert response.json()["error"]["code"] == "rate_limit_exceeded"


def _ask(api: str, text: str, tokens: int, said: list[Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return where to, and what: a prompt with what was said before behind it."""
    said = said or []
    if api == "chat":
        messages = [{"role": "user", "content": text}]
        messages += [{"role": "assistant", "content": reply} for reply in said]
        return "/v1/chat/completions", {"messages": messages, "max_tokens": tokens}
    if api == "completions":
        return "/v1/completions", {"prompt": "".join([text, *said]), "max_tokens": tokens}
    ids = [ord(letter) for letter in text] + [one for reply in said for one in reply]
    return "/v1/completions", {"prompt": ids, "max_tokens": tokens, "return_token_ids": True}
