"""Servers as they differ: each is used with at most one line of configuration."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from swarm.commands.init import init
from swarm.config.read import read_experiment, target_of
from swarm.live.look import look_at
from swarm.live.targets.control import server_counters
from tests.live.scripted_server import Asked, listed, refused, reply, scripted, streamed
from tests.live.targets.conftest import certificate  # noqa: F401 - a fixture

KEY = "s3cret-of-mine"
MISSING = reply("404 Not Found", b'{"detail":"Not Found"}')


@dataclass(frozen=True, slots=True)
class Shape:
    """A server: where its API stands, what it takes, and the one line that it needs."""

    line: str | None = None
    """`target.KEY=VALUE`, as under `--set` and in a file; None: none."""
    base: str = ""
    """What follows the host in its URL."""
    requests: str = "/v1/chat/completions"
    models: str | None = "/v1/models"
    list_facts: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    refuses: Callable[[Asked], str | None] = lambda _: None
    """The words with which it refuses a request; None: it takes it."""
    member: str = "max_tokens"
    usage: bool = True
    model: str | None = None
    """Where it lists none, that of the command line."""
    key: tuple[str, str] | None = None
    """The header of the key, and its value."""
    dialect: str | None = None
    context_tokens: int | None = None
    pool_tokens: int | None = None

    def answer(self, asked: Asked) -> bytes:
        """Answer as the server does."""
        if self.key is not None and asked.headers.get(self.key[0]) != self.key[1]:
            return refused("401 Unauthorized", "no key")
        if asked.method == "GET":
            if asked.path == self.models:
                return listed("m", **self.list_facts)
            return reply("200 OK", self.pages[asked.path]) if asked.path in self.pages else MISSING
        if asked.path != self.requests:
            return MISSING
        words = self.refuses(asked)
        if words is not None:
            return refused("400 Bad Request", words)
        return streamed(asked, usage=self.usage, member=self.member)


def takes(**wrong: str) -> Callable[[Asked], str | None]:
    """Return what refuses a body with one of these members, in words."""
    return lambda asked: next((words for name, words in wrong.items() if name in asked.data), None)


def lacks(name: str) -> Callable[[Asked], str | None]:
    return lambda asked: None if name in asked.data else f"{name} is required"


VLLM = b"""# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1001"} 1.0
vllm:prefix_cache_queries_total{engine="0"} 0
vllm:prefix_cache_hits_total{engine="0"} 0
"""
SGLANG = b'{"version":"0.5.9","max_total_num_tokens":65536,"context_length":8192,"page_size":1}'
LLAMA = b'{"default_generation_settings":{"n_ctx":4096},"total_slots":4,"build_info":"b9000"}'
TRTLLM = b"""trtllm_kv_cache_max_blocks{model_name="m"} 512
trtllm_kv_cache_tokens_per_block{model_name="m"} 32
"""
DYNAMO = b"""dynamo_frontend_model_context_length{model="m"} 8192
dynamo_frontend_model_kv_cache_block_size{model="m"} 16
dynamo_frontend_requests_total{model="m"} 0
"""
AZURE = "/openai/deployments/mine/chat/completions?api-version=2025-01-01-preview"
NO_EXACT = {"min_tokens": "Unrecognized request argument supplied: min_tokens"}
EXTRA = {"min_tokens": "Extra inputs are not permitted: min_tokens"}

SHAPES = {
    "vLLM": Shape(
        list_facts={"owned_by": "vllm", "max_model_len": 8_192},
        pages={"/metrics": VLLM, "/version": b'{"version":"0.18.0"}'},
        dialect="vllm",
        context_tokens=8_192,
        pool_tokens=16_000,
    ),
    "SGLang": Shape(
        pages={"/get_server_info": SGLANG}, dialect="sglang", context_tokens=8_192, pool_tokens=65_536
    ),
    "TensorRT-LLM": Shape(pages={"/metrics": TRTLLM}, dialect="trtllm", pool_tokens=16_384),
    "Dynamo": Shape(
        "target.metrics_urls=[ORIGIN/metrics]",
        pages={"/metrics": DYNAMO},
        dialect="dynamo",
        context_tokens=8_192,
    ),
    "llama.cpp": Shape(pages={"/props": LLAMA}, dialect="llama.cpp", context_tokens=4_096),
    "Azure, with the key in its header": Shape(
        "target.auth={header: api-key, env: SHAPE_KEY}",
        base=AZURE,
        requests=AZURE,
        models=None,
        model="m",
        key=("api-key", KEY),
        refuses=takes(**NO_EXACT),
    ),
    "Azure's /openai/v1": Shape(
        "target.auth={header: api-key, env: SHAPE_KEY}",
        base="/openai/v1",
        requests="/openai/v1/chat/completions",
        models="/openai/v1/models",
        key=("api-key", KEY),
        refuses=takes(**NO_EXACT),
    ),
    "Mistral": Shape(
        list_facts={"max_context_length": 32_768}, refuses=takes(**EXTRA)
    ),
    "OpenAI, which names lengths otherwise": Shape(
        member="max_completion_tokens",
        refuses=lambda asked: (
            takes(
                max_tokens="Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                **NO_EXACT,
            )(asked)
        ),
    ),
    "a gateway under a path": Shape(base="/proxy/openai/v1", requests="/proxy/openai/v1/chat/completions",
                                    models="/proxy/openai/v1/models"),
    "a gateway that wants a query": Shape(
        "target.path=/chat/completions?team=a",
        base="/api/v3",
        requests="/api/v3/chat/completions?team=a",
        models="/api/v3/models",
    ),
    "a gateway that wants a member more": Shape("target.extra_body={user: me}", refuses=lacks("user")),
    "one that knows no stream_options": Shape(
        "target.omit=[stream_options]", refuses=takes(stream_options="unknown: stream_options"), usage=False
    ),
    "one that tells no usage": Shape(usage=False),
    "one that lists no models": Shape(models=None, model="m"),
}  # fmt: skip


def used(shape: Shape, origin: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> Any:
    """Return what a look at a server learns; it raises where the server cannot be used."""
    monkeypatch.setenv("SHAPE_KEY", KEY)
    lines = [] if shape.line is None else [shape.line.replace("ORIGIN", origin)]
    data = {"urls": [origin + shape.base], "model": shape.model}
    target = target_of(data, [*lines, *more, "target.retry.attempts_max=1"], "a shape")
    found = look_at(target, nonce="shape", heed=lambda: None, note=lambda _: None)
    asyncio.run(server_counters(found.tried.target, lambda _: None))
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_a_server_is_used_with_one_line_at_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SHAPES[name]
    with scripted(shape.answer) as origin:
        found = used(shape, origin, monkeypatch)
    facts, reply_facts = found.facts, found.reply
    assert (facts.dialect, facts.context_tokens or None) == (
        shape.dialect,
        shape.context_tokens or shape.list_facts.get("max_context_length"),
    )
    assert facts.pool_tokens == shape.pool_tokens
    assert (reply_facts.error, reply_facts.streams, reply_facts.usage) == (None, True, shape.usage)


@pytest.mark.parametrize("line", ["target.verify=false", "target.ca_file=FILE"])
def test_a_certificate_of_its_own_takes_one_line(
    line: str,
    certificate: tuple[Path, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    shape = Shape(line.replace("FILE", str(certificate[0])))
    with scripted(shape.answer, tls) as origin:
        assert used(shape, origin, monkeypatch).reply.error is None


def test_a_proxy_of_the_environment_takes_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = []

    def proxy(asked: Asked) -> bytes:
        host = "http://api.example.com"
        asked_for.append(asked.path.startswith(host))
        return Shape().answer(Asked(asked.method, asked.path.removeprefix(host), asked.headers, asked.body))

    monkeypatch.delenv("no_proxy", raising=False)
    with scripted(proxy) as origin:
        monkeypatch.setenv("http_proxy", origin)
        target = target_of({"urls": ["http://api.example.com"]}, [], "a shape")
        found = look_at(target, nonce="shape", heed=lambda: None, note=lambda _: None)
    assert found.reply.error is None
    assert all(asked_for)


def test_what_was_learned_stands_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SHAPES["OpenAI, which names lengths otherwise"]
    with scripted(shape.answer) as origin:
        target = target_of({"urls": [origin]}, ["target.headers={x-team: a}"], "a shape")
        init(target, tmp_path / "mine.yaml")
    written = read_experiment(tmp_path / "mine.yaml", []).target
    assert (written.exact_output, written.max_tokens_member) == (False, "max_completion_tokens")
    assert written.headers == {"x-team": "a"}
