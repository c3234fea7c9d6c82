"""Why requests failed, in notes: by class, in the words of one, with what to do."""

import pytest

from swarm.measure.doubts import DOUBTS, doubts_told
from swarm.measure.failures import failure_reasons, failures_told, remedy
from swarm.records.batch import FailureExample


@pytest.mark.parametrize(
    ("kind", "status", "words", "says"),
    [
        ("http_4xx", 400, "unknown field: min_tokens", "target.exact_output: false"),
        ("http_4xx", 400, "Extra inputs are not permitted: ignore_eos", "target.exact_output: false"),
        ("http_4xx", 404, "The model `m` does not exist.", "target.model"),
        ("http_4xx", 404, "no such path", "target.urls"),
        ("http_4xx", 401, "no key", "target.api_key_env"),
        ("http_4xx", 400, "maximum context length is 512 tokens", "plan prompts"),
        ("stream_error", 200, "prompt exceeds the context of 4096 tokens", "plan prompts"),
        ("http_other", 307, "HTTP 307 to Location: http://h/gw", "target.urls"),
        ("tls", None, "handshake: self-signed certificate", "target.ca_file"),
        ("refused", None, "ConnectionRefusedError", "running"),
        ("malformed", 200, "content-type 'application/json', not text/event-stream: {}", "stream: true"),
        (
            "http_4xx",
            400,
            '"auto" tool choice requires --enable-auto-tool-choice',
            "tool_definition_tokens: 0",
        ),
        ("http_4xx", 400, "messages.0.content.0.cache_control: Extra inputs", "target.cache_control: null"),
        ("http_4xx", 400, "ignore_eos: Extra inputs are not permitted", "exact_output: false"),
        (
            "http_4xx",
            400,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "target.max_tokens_member: max_completion_tokens",
        ),
        ("timeout_total", 200, "not complete within 3 s", "target.timeouts.total_s"),
    ],
)
def test_a_remedy_is_named_where_it_is_known(kind: str, status: int | None, words: str, says: str) -> None:
    assert says in str(remedy(kind, status, words, exact_output=True))


def test_no_remedy_is_named_where_none_is_known() -> None:
    assert remedy("http_4xx", 418, "a teapot", exact_output=True) is None
    assert remedy("http_4xx", 400, "unknown field: min_tokens", exact_output=False) is None


def test_each_class_is_told_with_its_first_example() -> None:
    reasons = failure_reasons(
        {"http_4xx": 1200, "reset": 1, "stream_error": 2},
        [
            FailureExample("http_4xx", 400, "HTTP 400: unknown field: ignore_eos"),
            FailureExample("http_4xx", 403, "HTTP 403: later"),
            FailureExample("stream_error", 200, "x" * 300),
        ],
        exact_output=True,
    )
    assert [reason["status"] for reason in reasons] == [400, None, 200]
    assert failures_told(reasons) == [
        "1,200 requests failed as http_4xx: HTTP 400: unknown field: ignore_eos; "
        "set target.exact_output: false",
        "1 request failed as reset",
        f"2 requests failed as stream_error: {'x' * 200}...",
    ]


def test_doubts_of_all_hosts_are_added_up() -> None:
    assert doubts_told([("cached", 400), ("output", 1), ("cached", 12)]) == [
        f"412 requests: {DOUBTS['cached']}; treated as unknown",
        f"1 request: {DOUBTS['output']}; treated as unknown",
    ]
    assert doubts_told([]) == []
