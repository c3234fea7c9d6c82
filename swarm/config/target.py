"""Where turns go and how: the HTTP target's slice of an experiment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from swarm.config.base_url import base_url
from swarm.config.strict import Strict

Api = Literal["chat", "completions", "token_ids"]
"""`/v1/chat/completions`; `/v1/completions` with text; `/v1/completions` with token ids."""

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
    event_bytes_max: int = Field(default=4 * 1024**2, ge=256, description="one event of a stream")
    response_bytes_max: int = Field(default=256 * 1024**2, ge=256, description="one whole response")
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


class TargetConfig(Strict):
    """An OpenAI-compatible endpoint, or several that serve the same model."""

    urls: tuple[str, ...] = ()
    """Base URLs with or without `/v1`, or another version that the API has; a whole URL, that ends in
    `/chat/completions` or `/completions`, is taken as it is. None: the run starts the emulated provider."""
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
    model: str | None = None
    """null: the first that `/v1/models` lists."""
    api: Api = Field("chat", description="of requests")
    api_key_env: str | None = None
    """The *name* of the environment variable that holds the key, sent as `Authorization: Bearer KEY`."""
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
    """Send `ignore_eos` and `min_tokens`, which vLLM and SGLang honour; plain OpenAI refuses them."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More members of every request body, such as sampling settings."""
    max_tokens_member: str = Field(default="max_tokens", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """What the server calls a reply's length: some want `max_completion_tokens`."""
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
    token_id_low: int = Field(default=1_000, ge=0, description="least id of a planned token")
    token_id_high: int = Field(default=8_191, le=9_999_999)
    """Planned token ids are drawn from [low, high], which a model's vocabulary must contain."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's, for https."""
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
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"headers: {name!r} is written by Swarm itself: remove it")
        return self

    @model_validator(mode="after")
    def _members_stand_once(self) -> Self:
        if "max_tokens" not in self.omit:
            lengths = [name for name in (self.max_tokens_member, *_LENGTHS) if name in self.extra_body]
            if lengths:
                raise ValueError(
                    f"extra_body: {lengths[0]!r} would stand beside the planned length: remove it; "
                    f"where the server calls the length so, set target.max_tokens_member: {lengths[0]}"
                )
        own = {*_OWN_MEMBERS, *(("min_tokens", "ignore_eos") if self.exact_output else ())}
        own |= {"return_token_ids"} if self.api == "token_ids" else set()
        twice = sorted((own - set(self.omit)) & set(self.extra_body))
        if twice:
            raise ValueError(
                f"extra_body: {twice[0]!r} is written by Swarm itself: remove it; where the server refuses "
                f"Swarm's, target.omit leaves out {', '.join(get_args(Omitted))}"
            )
        return self

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
