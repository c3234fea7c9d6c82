"""Where turns go and how: the HTTP target's slice of an experiment."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from swarm.config.base_url import base_url
from swarm.config.strict import Strict

Api = Literal["chat", "completions", "token_ids", "messages", "responses"]
"""`/v1/chat/completions`; `/v1/completions` with text, or with token ids; Anthropic's `/v1/messages`;
OpenAI's `/v1/responses`."""

CacheTtl = Literal["5m", "1h"]
TTLS_S: dict[CacheTtl, float] = {"5m": 300.0, "1h": 3600.0}
BREAKPOINTS_MAX = 4
"""That Anthropic takes in one request."""
TOOL_TOKENS_LEAST = 100

RoutingName = Literal["session_affine", "round_robin", "least_outstanding"]

FailureClass = Literal[
    "http_429",
    "http_4xx",
    "http_5xx",
    "http_other",
    "refused",
    "unreachable",
    "tls",
    "reset",
    "truncated",
    "malformed",
    "stream_error",
    "empty",
    "too_large",
    "timeout_connect",
    "timeout_first_token",
    "timeout_between_tokens",
    "timeout_total",
    "client_limit",
]
"""Why an attempt failed; what each one means is told in `swarm/live/targets/failure.py`."""


class TimeoutConfig(Strict):
    """How long one attempt waits for what; checked about ten times within the shortest of them."""

    connect_s: float = Field(default=10.0, gt=0, description="for a connection, TLS included")
    first_token_s: float = Field(default=600.0, gt=0, description="from the request to its first token")
    between_tokens_s: float = Field(default=120.0, gt=0, description="from one token to the next")
    total_s: float = Field(default=3600.0, gt=0, description="for a whole attempt")


class RetryConfig(Strict):
    """Which failures are tried again and how long is waited; nothing is, once a token has arrived."""

    attempts_max: int = Field(default=4, ge=1, le=100, description="of one request, the first one included")
    wait_first_s: float = Field(default=0.5, ge=0, description="before the second attempt; doubles with each")
    wait_max_s: float = Field(default=30.0, ge=0, description="longest wait between attempts")
    retry_after_max_s: float = Field(default=120.0, ge=0)
    """A server that asks for a longer wait than this is not asked again."""
    classes: tuple[FailureClass, ...] = Field(
        ("http_429", "http_5xx", "refused", "reset", "timeout_connect"),
        description="failures that are tried again",
    )


class LimitConfig(Strict):
    """Bounds on what one server can make the client hold."""

    header_bytes_max: int = Field(default=64 * 1024, ge=256, description="the head of one response")
    event_bytes_max: int = Field(default=1024**2, ge=256, description="one event of a stream")
    reply_bytes_least: int = Field(default=1024**2, ge=0, description="of a reply, however short")
    reply_bytes_per_token: int = Field(default=4096, ge=1)
    """A reply to T tokens may have `reply_bytes_least + T x reply_bytes_per_token` bytes on the wire:
    an event of one token has 300 as a rule, and 3,000 with the chances of 20 others."""
    response_bytes_max: int = Field(default=256 * 1024**2, ge=256)
    """Of any response, however much was asked for."""
    connections_max: int = Field(default=16_384, ge=1, description="open connections of one host")
    idle_connections_max: int = Field(default=8_192, ge=0, description="kept open between requests")


class HealthConfig(Strict):
    """When an endpoint of several is left aside, and for how long."""

    failures_max: int = Field(default=3, ge=1)
    """Connection failures in a row."""
    aside_s: float = Field(default=5.0, gt=0, description="how long it is left aside")


HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A header's name (RFC 9110 5.6.2)."""
_WHOLE_URL = re.compile(r"https?://[^\s/?#]+(/\S*)?")
_SECRET = re.compile(
    r"(^|[-_])(authorization|api-?key|key|token|secret|password|cookie|credentials?|signature)$",
    re.IGNORECASE,
)
_SIGNED = re.compile(rf"{_SECRET.pattern}|^sig$", re.IGNORECASE)
"""Names of a query's members that are keys."""
_NO_SECRETS = ("idempotency-key",)
_OWN_HEADERS = (
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
)
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_OWN_MEMBERS = ("messages", "prompt", "model", "stream", "stream_options")
_MORE_MEMBERS: dict[Api, set[str]] = {
    "token_ids": {"return_token_ids"},
    "messages": {"tools", "system", "cache_control"},
    "responses": {"tools", "instructions", "input", "previous_response_id"},
}

Omitted = Literal["model", "stream_options", "max_tokens", "min_tokens", "ignore_eos"]


class AuthConfig(Strict):
    """A key in a header of another name."""

    header: str = Field(
        default="Authorization",
        pattern=f"^{HEADER.pattern}$",
        description="name of the header that carries the key",
    )
    env: str = Field(min_length=1)
    """The *name* of the environment variable that holds the key."""


class CacheControlConfig(Strict):
    """Where a request to `/v1/messages` asks for its prompt to be kept, and for how long; null: not there."""

    tools: CacheTtl | None = "5m"
    """After the last tool's definition."""
    system: CacheTtl | None = "5m"
    """After the system prompt."""
    turns: CacheTtl | None = "5m"
    """After each of the last `last_turns` user messages."""
    last_turns: int = Field(
        default=2, ge=1, le=BREAKPOINTS_MAX, description="user messages, from the last, with a breakpoint"
    )

    @model_validator(mode="after")
    def _the_server_takes_them(self) -> Self:
        stated = [(name, TTLS_S[ttl]) for name, ttl in self.ttls() if ttl is not None]
        for (before, shorter_s), (after, longer_s) in pairwise(stated):
            if longer_s > shorter_s:
                raise ValueError(
                    f"{after}: 1h comes after {before}: 5m in the prompt, and servers refuse a longer TTL "
                    f"after a shorter one: set {before}: 1h, or {after}: 5m"
                )
        count = len(stated) + (self.last_turns - 1 if self.turns is not None else 0)
        if count > BREAKPOINTS_MAX:
            raise ValueError(
                f"last_turns: {self.last_turns} makes {count} breakpoints, and a request may have "
                f"{BREAKPOINTS_MAX}: lower it, or set tools or system to null"
            )
        return self

    def ttls(self) -> tuple[tuple[str, CacheTtl | None], ...]:
        """Return the parts of a prompt in their order, each with its TTL."""
        return (("tools", self.tools), ("system", self.system), ("turns", self.turns))


class WatchedConfig(Strict):
    """A page of Prometheus metrics that is read beside the run: GPUs by a DCGM exporter, a node, a router."""

    url: str = Field(description="in full, such as http://HOST:9400/metrics; it is sent no key")
    series: tuple[str, ...] = Field(
        min_length=1, description="names of what is kept, or patterns with * and ?, such as DCGM_FI_DEV_*"
    )

    @field_validator("url")
    @classmethod
    def _is_whole(cls, url: str) -> str:
        if not _WHOLE_URL.fullmatch(url):
            raise ValueError(f"url: {url!r} is no URL in full, such as http://HOST:9400/metrics")
        return url


class TargetConfig(Strict):
    """An endpoint that speaks OpenAI's APIs or Anthropic's, or several that serve the same model."""

    urls: tuple[str, ...] = ()
    """Base URLs with or without `/v1`, or another version that the API has; a whole URL, that ends in
    `/chat/completions`, `/completions`, `/messages` or `/responses`, is taken as it is. None: the run starts
    the emulated provider."""
    path: str | None = Field(default=None, pattern=r"^/[!-~]*$")
    """Of requests, under the base URL: `/openai/deployments/NAME/chat/completions?api-version=...`."""
    routing: RoutingName = "session_affine"
    """How turns are spread over several URLs; `session_affine` keeps a session at one while it is healthy."""
    weights: tuple[float, ...] = ()
    """Shares of the URLs, in their order; none: equal shares."""
    health: HealthConfig = HealthConfig()
    metrics_urls: tuple[str, ...] = ()
    """Where each worker publishes its counters, in full; none: `/metrics` of every URL. Behind a front end,
    name all workers: its own metrics do not tell of their caches."""
    watched: tuple[WatchedConfig, ...] = Field((), max_length=16)
    """More pages of metrics that are read once a window while a live run goes on, such as a DCGM exporter's:
    kept in `watched.parquet`, and drawn in the report under the TTFT. No verdict depends on them."""
    model: str | None = None
    """null: the first that `/v1/models` lists."""
    api: Api = Field("chat", description="of requests")
    cache_control: CacheControlConfig | None = CacheControlConfig()
    """Of `api: messages` alone; null: no breakpoints."""
    tool_definition_tokens: int = Field(default=600, ge=0)
    """Of `api: messages` and `responses`: what a workload plans as tool definitions is declared as tools of
    so many tokens each; 0: it is text of the system prompt."""
    api_key_env: str | None = None
    """The *name* of the environment variable that holds the key, sent as `Authorization: Bearer KEY`; to
    `/v1/messages` as `x-api-key: KEY`."""
    auth: AuthConfig | None = None
    """The same for a key in another header, such as `{header: api-key, env: NAME}`: sent as it is."""
    session_header: str = Field(
        default="X-Session-ID",
        pattern=r"^[A-Za-z0-9-]+$",
        description="carries the agent's id, by which routers keep it at one replica",
    )
    parent_header: str = Field(
        default="X-Parent-Session-ID",
        pattern=r"^[A-Za-z0-9-]+$",
        description="carries the id of a sub-agent's parent",
    )
    headers: dict[str, str] = Field(default_factory=dict)
    """More headers for every request; keys do not belong here, as they would stand in run.yaml."""
    cache: Literal["fresh", "shared"] = "fresh"
    """What the server's prefix cache may hold of other runs. `fresh`: the run's id enters the first tokens of
    every prompt, so that nothing an earlier run sent can hit. `shared`: each run sends the same bytes."""
    exact_output: bool = True
    """Send `ignore_eos` and `min_tokens`, which vLLM and SGLang honour in chat and completions, the emulated
    provider everywhere; OpenAI and Anthropic refuse them. A server that ignores them ends replies early, and
    the run is invalid."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More members of every request body, such as sampling settings."""
    max_tokens_member: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """What the server calls a reply's length: some want `max_completion_tokens`. null: `max_output_tokens`
    for responses, else `max_tokens`."""
    omit: tuple[Omitted, ...] = ()
    """Members that a server refuses: left out. Without `stream_options` it may report no usage."""
    bytes_per_token: float | None = Field(default=None, ge=1.0, le=16.0)
    """Bytes of text sent for a planned token; 4 is exact on the emulated provider. null: measured before the
    run, from the usage that a few requests come back with; 4 where the server reports none."""
    overhead_tokens: int | None = Field(default=None, ge=0)
    """Tokens that the server puts around a prompt (chat template, BOS): so many fewer are sent.
    null: measured."""
    tokenizer: Path | None = None
    """The server's `tokenizer.json`: text is then made of words that are one token each, and every prompt has
    its planned length exactly. Needs the extra `tokenizer`."""
    context_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of a prompt and its reply together. null: asked of the server, where it tells."""
    token_id_low: int = Field(default=1_000, ge=0, description="least id of a planned token")
    token_id_high: int = Field(default=8_191, le=9_999_999)
    """Planned token ids are drawn from [low, high], which a model's vocabulary must contain."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's, for https."""
    verify: bool = True
    """false: any certificate is taken, as curl's --insecure does; whoever stands between sees the key."""
    proxy: str | None = Field(default="environment", pattern=r"^(environment|http://[^\s/@]+/?)$")
    """`environment`: what `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` say; this machine, private
    addresses and hosts of one word are asked directly. A proxy's `http://HOST:PORT`; null: none."""
    timeouts: TimeoutConfig = TimeoutConfig()
    retry: RetryConfig = RetryConfig()
    limits: LimitConfig = LimitConfig()

    @model_validator(mode="before")
    @classmethod
    def _urls_are_urls(cls, data: Any) -> Any:
        """Check each URL, and write it with its scheme."""
        urls = data.get("urls") if isinstance(data, dict) else None
        if not isinstance(urls, list | tuple) or not all(isinstance(url, str) for url in urls):
            return data
        for url in urls:
            base_url(url)
        return {**data, "urls": tuple(url if "://" in url else f"http://{url}" for url in urls)}

    @model_validator(mode="after")
    def _metrics_have_whole_urls(self) -> Self:
        for url in self.metrics_urls:
            if not _WHOLE_URL.fullmatch(url):
                raise ValueError(f"metrics_urls: {url!r} is no URL in full, such as http://HOST:PORT/metrics")
        return self

    @model_validator(mode="after")
    def _urls_hold_no_keys(self) -> Self:
        """Refuse what would stand in `run.yaml`, and beside every row."""
        places = [("urls", url) for url in self.urls] + [("metrics_urls", url) for url in self.metrics_urls]
        places += [("watched", each.url) for each in self.watched]
        for name, url in [*places, ("path", self.path or "")]:
            parts = urlsplit(url)
            if "@" in parts.netloc:
                raise ValueError(
                    f"{name}: a URL has no user or password, which would stand in run.yaml; take them out"
                )
            member = next((key for key, _ in parse_qsl(parts.query) if _SIGNED.search(key)), None)
            if member is not None:
                raise ValueError(
                    f"{name}: {member!r} in the query looks like a key, which would stand in run.yaml: take "
                    "it out; a server is given its key as a header by target.api_key_env or target.auth"
                )
        return self

    @model_validator(mode="after")
    def _keys_are_not_here(self) -> Self:
        if self.auth is not None and self.api_key_env is not None:
            raise ValueError("api_key_env and auth both name a key: keep one")
        for name, value in self.headers.items():
            if not HEADER.fullmatch(name):
                raise ValueError(f"headers: {name!r} is no header's name")
            is_secret = _SECRET.search(name) and name.lower() not in _NO_SECRETS
            if is_secret or value.lower().startswith("bearer "):
                raise ValueError(
                    f"headers: {name!r} looks like a key, which would stand in run.yaml: put it into an "
                    f"environment variable NAME, and set target.auth: {{header: {name}, env: NAME}}"
                )
            if not (value.isascii() and value.isprintable()):
                raise ValueError(
                    f"headers: the value of {name!r} holds what a header cannot: a line break, a control "
                    "character or a letter beyond ASCII; percent-encode it"
                )
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"headers: {name!r} is written by Swarm itself: remove it")
        return self

    @model_validator(mode="after")
    def _members_are_json(self) -> Self:
        place = _no_json(self.extra_body, "extra_body")
        if place is not None:
            raise ValueError(
                f"{place}, which JSON has not: write texts, numbers, truth values, lists or mappings"
            )
        return self

    @model_validator(mode="after")
    def _members_stand_once(self) -> Self:
        if "max_tokens" not in self.omit:
            lengths = [name for name in (self.length_member, *_LENGTHS) if name in self.extra_body]
            if lengths:
                raise ValueError(
                    f"extra_body: {lengths[0]!r} would stand beside the planned length: remove it; "
                    f"where the server calls the length so, set target.max_tokens_member: {lengths[0]}"
                )
        own = {*_OWN_MEMBERS, *(("min_tokens", "ignore_eos") if self.exact_output else ())}
        own |= _MORE_MEMBERS.get(self.api, set())
        twice = sorted((own - set(self.omit)) & set(self.extra_body))
        if twice:
            raise ValueError(
                f"extra_body: {twice[0]!r} is written by Swarm itself: remove it; where the server refuses "
                f"Swarm's, target.omit leaves out {', '.join(get_args(Omitted))}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _prompts_are_text(cls, data: Any) -> Any:
        """Say how token ids are sent, where they are asked for beside an API."""
        if isinstance(data, dict) and "prompts" in data:
            raise ValueError(
                f"prompts: {data['prompts']!r}: there is no such key: token ids are sent by api: token_ids "
                "(/v1/completions); chat, completions, messages and responses take text alone"
            )
        return data

    @model_validator(mode="after")
    def _breakpoints_have_an_api(self) -> Self:
        if self.api != "messages" and self.cache_control not in (None, CacheControlConfig()):
            raise ValueError(
                f"cache_control: api: {self.api} has no breakpoints: set target.api: messages, or remove it"
            )
        if 0 < self.tool_definition_tokens < TOOL_TOKENS_LEAST:
            raise ValueError(
                f"tool_definition_tokens: {self.tool_definition_tokens} are too few for a tool's name and "
                f"schema: give 0, or {TOOL_TOKENS_LEAST} or more"
            )
        return self

    @property
    def length_member(self) -> str:
        """What the length of a reply is called."""
        own = "max_output_tokens" if self.api == "responses" else "max_tokens"
        return self.max_tokens_member or own

    @model_validator(mode="after")
    def _weights_fit_the_urls(self) -> Self:
        if self.weights and (len(self.weights) != len(self.urls) or min(self.weights) <= 0):
            raise ValueError(
                f"{len(self.weights)} weights {list(self.weights)} for {len(self.urls)} urls: "
                "give one above 0 for each URL, or none"
            )
        return self

    @model_validator(mode="after")
    def _ids_form_a_range(self) -> Self:
        if self.token_id_high - self.token_id_low < 255:
            raise ValueError(
                f"token ids [{self.token_id_low}, {self.token_id_high}] are too few: "
                "token_id_low and token_id_high must span at least 256 ids"
            )
        return self


def _no_json(value: Any, key: str) -> str | None:
    """Return what of a value JSON cannot hold, with its place; None where it can hold all."""
    if isinstance(value, dict):
        name = next((name for name in value if not isinstance(name, str)), None)
        if name is not None:
            return f"{key}: found the key {name!r}"
        parts = [(f"{key}.{name}", each) for name, each in value.items()]
        return next((found for name, each in parts if (found := _no_json(each, name)) is not None), None)
    if isinstance(value, list):
        parts = [(f"{key}.{place}", each) for place, each in enumerate(value)]
        return next((found for name, each in parts if (found := _no_json(each, name)) is not None), None)
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if value is None or (isinstance(value, str | int | float) and is_finite):
        return None
    return f"{key}: found {str(value)[:40]} ({type(value).__name__})"
