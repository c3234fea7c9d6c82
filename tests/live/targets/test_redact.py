"""No secret is shown, however a server writes it."""

import json
from base64 import b64encode, urlsafe_b64encode
from html import escape
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.live.targets.control import ControlPlane
from swarm.live.targets.redact import SHOWN_MAX, Redactor, redactor

KEY = "sk-Pr0j/4+a=b&c d.'Zz\"9\\8~end"
VISIBLE = 7
"""So many characters of a key may be seen: fewer than a prefix that is blotted out."""

WRITTEN: dict[str, str] = {
    "as it is": KEY,
    "in a URL": quote(KEY, safe=""),
    "in a path": quote(KEY),
    "in a query": quote_plus(KEY),
    "in a URL twice": quote(quote(KEY, safe=""), safe=""),
    "in small letters of a URL": quote(KEY, safe="").lower(),
    "in JSON": json.dumps(KEY)[1:-1],
    "in JSON in JSON": json.dumps(json.dumps(KEY))[1:-1],
    "in JSON with slashes escaped": json.dumps(KEY)[1:-1].replace("/", "\\/"),
    "in escapes of JSON": "".join(f"\\u{ord(char):04x}" for char in KEY),
    "half in escapes": "".join(f"\\u{ord(char):04X}" if k % 2 else char for k, char in enumerate(KEY)),
    "in HTML": escape(KEY),
    "in entities": "".join(f"&#{ord(char)};" for char in KEY),
    "as a literal": repr(KEY)[1:-1],
    "as bytes": repr(KEY.encode())[2:-1],
    "in base64": b64encode(KEY.encode()).decode(),
    "in base64 for URLs": urlsafe_b64encode(KEY.encode()).decode(),
    "in base64 as a password": b64encode(f"user:{KEY}".encode()).decode(),
    "in base64 behind one byte": b64encode(f"x{KEY}y".encode()).decode(),
    "in hexadecimal": KEY.encode().hex(),
    "behind Bearer": f"Bearer {KEY}",
    "in capitals": KEY.upper(),
    "cut off": KEY[:14],
}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("around", ["bad key {}, sorry", '{{"error":"{}"}}', "{}", "x={}&y=1"])
def test_a_key_is_blotted_out_however_it_is_written(form: str, around: str) -> None:
    shown = Redactor([KEY]).shown(around.format(WRITTEN[form]))
    assert "[key]" in shown
    assert WRITTEN[form][-6:] not in shown
    assert KEY[:9].lower() not in shown.lower()


@given(before=st.integers(0, 2 * SHOWN_MAX), text=st.sampled_from(sorted(WRITTEN.values())))
def test_a_key_is_blotted_out_before_the_text_is_cut(before: int, text: str) -> None:
    shown = Redactor([KEY]).shown("." * before + text + " and more" * 100)
    assert text[: VISIBLE + 1] not in shown
    assert len(shown) <= SHOWN_MAX + 3


@pytest.mark.parametrize(
    "text", ["no key here", "EMPTY replies", "the token count 12", "keyed by session", "emptying it"]
)
def test_words_that_are_no_secret_stay(text: str) -> None:
    assert Redactor(["empt", "EMPTYish"]).shown(text) == text


def test_what_a_terminal_would_take_for_orders_is_replaced() -> None:
    assert Redactor([]).shown("a\x1b[2Jb\0c\ud83d") == "a\ufffd[2Jb\ufffdc\ufffd"


def test_the_password_of_a_proxy_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://bob:wordpass%2F77@proxy.example.com:3128")
    known = redactor(TargetConfig(urls=("https://api.example.com",)), None)
    sent = b64encode(b"bob:wordpass/77").decode()
    shown = known.shown(f"it opens no tunnel: 407 no {sent}, no wordpass/77 and no wordpass%2F77, bob")
    assert shown == "it opens no tunnel: 407 no [key], no [key] and no [key], bob"


def test_secrets_are_found_at_any_depth() -> None:
    config = TargetConfig(extra_body={"metadata": {"auth": {"user": "membersecret"}, "team": "bluebirds"}})
    assert redactor(config, None).shown("membersecret bluebirds") == "[key] bluebirds"


def test_secrets_are_found_by_the_names_of_headers_and_members() -> None:
    config = TargetConfig(
        headers={"X-Signature-Seed": "topsecret77", "X-Team": "bluebirds"},
        extra_body={"auth_token": "membersecret", "temperature": 0.5},
    )
    shown = redactor(config, None).shown("topsecret77 bluebirds membersecret 0.5")
    assert shown == "[key] bluebirds [key] 0.5"


def status(line: str, body: bytes, *headers: str) -> Any:
    async def script(peer: Any) -> None:
        await peer.request()
        head = "".join(f"{header}\r\n" for header in headers)
        text = f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
        await peer.send(text + body)

    return script


PLACES: dict[str, Any] = {
    "a body": status("401 Unauthorized", f"bad key {KEY}".encode()),
    "a body that is cut": status("401 Unauthorized", b"." * (SHOWN_MAX - 20) + f" {KEY}".encode() * 2),
    "a long body": status("400 Bad Request", b" " * 16_370 + KEY.encode() * 4),
    "a Location": status("302 Found", b"", f"Location: /login?key={quote(KEY, safe='')}"),
    "a content type": status("200 OK", b"{}", f"Content-Type: text/{KEY}"),
    "a coding": status("200 OK", b"{}", "Content-Type: text/event-stream", f"Content-Encoding: {KEY}"),
    "an event": status("200 OK", f"data: {KEY}\n\n".encode(), "Content-Type: text/event-stream"),
    "a comment": status("200 OK", f"event: error\n: {KEY}\n\n".encode(), "Content-Type: text/event-stream"),
    "a reason": status(
        "200 OK",
        b'data: {"choices":[{"delta":{},"finish_reason":' + json.dumps(KEY).encode() + b"}]}\n\n",
        "Content-Type: text/event-stream",
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_key_that_a_server_repeats_is_in_no_failure(
    lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("SWARM_TEST_KEY", KEY)
    result = lab.ask(PLACES[place], api_key_env="SWARM_TEST_KEY")
    assert result.outcome != "ok"
    assert KEY[:8] not in result.error
    assert quote(KEY[:8], safe="") not in result.error


@pytest.mark.parametrize("place", ["a body", "a body that is cut", "a Location", "a content type"])
@pytest.mark.parametrize("ask", ["models", "metrics"])
def test_a_key_that_a_server_repeats_is_in_no_error_of_the_control_plane(
    lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, place: str, ask: str
) -> None:
    monkeypatch.setenv("SWARM_TEST_KEY", KEY)

    async def main() -> str:
        async with lab.serving(PLACES[place]) as server:
            config = TargetConfig(urls=(server.url,), api_key_env="SWARM_TEST_KEY")
            async with ControlPlane(config) as control:
                try:
                    return str(await getattr(control, ask)())
                except RunError as error:
                    return str(error)

    assert KEY[:8] not in lab.run(main)
