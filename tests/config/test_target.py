"""What a target may be, and where its requests go."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest

from swarm.config.base_url import base_url
from swarm.config.read import validate
from swarm.config.target import TargetConfig
from swarm.errors import ConfigError


def target(**given: Any) -> TargetConfig:
    return validate(TargetConfig, given, "target")


@pytest.mark.parametrize(
    ("url", "path", "requests", "models", "server"),
    [
        ("http://h:8000", None, "/v1/chat/completions", "/v1/models", ""),
        ("http://h/v1/", None, "/v1/chat/completions", "/v1/models", ""),
        ("https://h/proxy/v1", None, "/proxy/v1/chat/completions", "/proxy/v1/models", "/proxy"),
        ("http://[::1]:8000/a", None, "/a/v1/chat/completions", "/a/v1/models", "/a"),
        ("http://h/v1beta/openai", None, "/v1beta/openai/chat/completions", "/v1beta/openai/models", ""),
        ("http://h/api/v3", None, "/api/v3/chat/completions", "/api/v3/models", "/api"),
        ("http://h/paas/v4/", None, "/paas/v4/chat/completions", "/paas/v4/models", "/paas"),
        ("http://h/x/chat/completions", None, "/x/chat/completions", "/x/models", "/x"),
        ("http://h/o/m/chat/completions?api-version=2", None, "/o/m/chat/completions?api-version=2",
         "/o/m/models", "/o/m"),
        ("http://h", "/o/chat/completions?v=2", "/o/chat/completions?v=2", "/o/models", ""),
        ("http://h/team", "/ask", "/team/ask", "/team/v1/models", "/team"),
    ],
)  # fmt: skip
def test_requests_go_where_the_url_and_the_path_say(
    url: str, path: str | None, requests: str, models: str, server: str
) -> None:
    place = base_url(target(urls=[url], path=path).urls[0])
    found = (place.requests("/chat/completions", path), place.models(path), place.server)
    assert found == (requests, models, server)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("10.0.0.1", "http://10.0.0.1"),
        ("https://h/v1", "https://h/v1"),
    ],
)
def test_a_url_without_a_scheme_is_http(url: str, meant: str) -> None:
    assert target(urls=[url]).urls == (meant,)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h:1/openai?api-version=2", "a base URL has no query; give the whole URL"),
        ("http://h:99999", "has no valid port"),
        ("http://h:0", "has no valid port"),
        ("http://h:port", "has no valid port"),
        ("ftp://h:1", "is not a base URL"),
        ("http://", "is not a base URL"),
        ("", "is not a base URL"),
        ("http://h h:1", "is not a base URL"),
        ("http://[::1", "is no IPv6 address"),
        ("http://h/#top", "has a fragment"),
        ("http://h/a b", "must be percent-encoded"),
        ("http://user:opensesame@h", "keys go to target.api_key_env or target.auth"),
        ("user:opensesame@h:1", "keys go to target.api_key_env or target.auth"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refusal:
        target(urls=["http://good", url])
    assert "opensesame" not in str(refusal.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": "opensesame"},
        {"Authorization": "opensesame"},
        {"x-goog-api-key": "opensesame"},
        {"Ocp-Apim-Subscription-Key": "opensesame"},
        {"X-Auth-Token": "opensesame"},
        {"Cookie": "opensesame"},
        {"X-Anything": "Bearer opensesame"},
    ],
)
def test_a_key_among_the_headers_is_refused_with_the_way_to_do_it(headers: dict[str, str]) -> None:
    name = next(iter(headers))
    with pytest.raises(ConfigError, match=f"set target.auth: {{header: {name}, env: NAME}}") as refusal:
        target(headers=headers)
    assert "opensesame" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"headers": {"X-A\r\nX-B": "1"}}, "is no header's name"),
        ({"headers": {"X-A": "a\r\nX-B: 1"}}, "value of 'X-A' holds what a header cannot"),
        ({"headers": {"X-A": "a\nb"}}, "value of 'X-A' holds what a header cannot"),
        ({"headers": {"X-A": "a\0b"}}, "value of 'X-A' holds what a header cannot"),
        ({"headers": {"X-A": "\u00e9"}}, "value of 'X-A' holds what a header cannot"),
        ({"urls": ["http://a\r\nb"]}, r"urls: 'http://a\\r\\nb' holds a control character"),
        ({"urls": ["http://a/\tb"]}, "holds a control character"),
        ({"extra_body": {"a": math.inf}}, r"extra_body\.a: found inf \(float\), which JSON has not"),
        ({"extra_body": {"a": [date(2026, 1, 1)]}}, r"extra_body\.a\.0: found 2026-01-01 \(date\)"),
        ({"extra_body": {"a": {"b": b"c"}}}, r"extra_body\.a\.b: found b'c' \(bytes\)"),
        ({"extra_body": {"a": {1: 2}}}, r"extra_body\.a: found the key 1"),
        ({"headers": {"Content-Length": "1"}}, "is written by Swarm itself"),
        ({"auth": {"header": "a b", "env": "K"}}, r"auth\.header"),
        ({"auth": {"header": "api-key", "env": "K"}, "api_key_env": "K"}, "both name a key"),
        ({"metrics_urls": ["localhost:9090/metrics"]}, "is no URL in full"),
        ({"metrics_urls": ["http://u:pass77@h/metrics"]}, "metrics_urls: a URL has no user or password"),
        ({"metrics_urls": ["http://h/metrics?token=t7"]}, "metrics_urls: 'token' in the query"),
        ({"urls": ["http://h/v1/chat/completions?v=1&api_key=k7"]}, "urls: 'api_key' in the query"),
        ({"path": "/chat/completions?api-version=1&subscription-key=k7"}, "path: 'subscription-key' in the"),
        ({"extra_body": {"stream_options": None}}, "'stream_options' is written by Swarm itself"),
        ({"extra_body": {"model": "m"}}, "'model' is written by Swarm itself"),
        ({"extra_body": {"ignore_eos": False}}, "'ignore_eos' is written by Swarm itself"),
        ({"extra_body": {"max_completion_tokens": 8}}, "set target.max_tokens_member: max_completion_tokens"),
        ({"extra_body": {"max_tokens": 8}, "max_tokens_member": "n"}, "beside the planned length"),
        ({"omit": ["messages"]}, "omit"),
    ],
)
def test_settings_that_contradict_what_is_sent_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        target(**given)


def test_settings_beside_what_is_sent_are_taken() -> None:
    target(headers={"X-Team": "blue", "Idempotency-Key": "1", "OpenAI-Organization": "o"})
    target(exact_output=False, extra_body={"ignore_eos": True, "temperature": 0.5})
    target(omit=["stream_options"], extra_body={"stream_options": {"include_usage": False}})
    target(omit=["max_tokens"], extra_body={"max_tokens": 8})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"cache_control": {"system": "1h"}}, "system: 1h comes after tools: 5m .* set tools: 1h"),
        ({"cache_control": {"tools": None, "turns": "1h"}}, "turns: 1h comes after system: 5m"),
        ({"cache_control": {"last_turns": 3}}, "last_turns: 3 makes 5 breakpoints, and a request may have 4"),
        ({"api": "chat", "cache_control": None, "tool_definition_tokens": 40}, "too few for a tool"),
        ({"api": "chat", "cache_control": {"tools": "1h"}}, "api: chat has no breakpoints"),
        ({"prompts": "token_ids"}, "token ids are sent by api: token_ids"),
        ({"extra_body": {"system": "x"}}, "'system' is written by Swarm itself"),
        ({"extra_body": {"max_tokens": 9}}, "would stand beside the planned length"),
    ],
)
def test_what_messages_cannot_have_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        target(**{"api": "messages", **given})


def test_a_target_reads_back_what_it_wrote() -> None:
    for api in ("chat", "messages", "responses"):
        config = target(api=api)
        assert target(**config.model_dump()) == config
