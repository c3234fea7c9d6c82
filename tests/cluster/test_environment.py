"""Ray's environment: what it would hang or die of is told in one line, with a remedy."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarm.cluster import environment, session
from swarm.cluster.environment import check_environment
from swarm.cluster.session import ray_session, said
from swarm.errors import UsageError

SETTINGS_FRAME = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
NICENESS = "RAY_worker_niceness"
HTTP_1 = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@contextmanager
def answering(words: bytes | None) -> Iterator[str]:
    """Listen on a port; say something to whoever comes, or (None) nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def answer() -> None:
            connection, _ = server.accept()
            kept.append(connection)
            if words is not None:
                connection.sendall(words)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)
        for connection in kept:
            connection.close()


def told(folder: Path, **variables: str) -> str:
    """Return what is said of an environment; nothing where Ray may start."""
    defaults = {"HOME": str(folder), "RAY_TMPDIR": "/tmp"}
    try:
        check_environment({**defaults, **variables})
    except UsageError as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize("address", ["", "local", "auto"])
def test_a_ray_that_is_started_or_found_needs_no_address(tmp_path: Path, address: str) -> None:
    assert told(tmp_path, RAY_ADDRESS=address) == ""


@pytest.mark.parametrize(("address", "words"), [
    ("http://127.0.0.1:8265", "dashboard's URL"),
    ("https://head/", "dashboard's URL"),
    ("foo", "not an address"),
    ("foo:", "not an address"),
    ("foo:0", "not an address"),
    ("foo:99999", "not an address"),
    ("a:b:6379", "not an address"),
    ("127.0.0.1:1", "nothing answers there"),
    ("[::1]:1", "nothing answers there"),
    ("ray://127.0.0.1:1", "nothing answers there"),
])  # fmt: skip
def test_an_address_where_no_cluster_can_be_is_refused(tmp_path: Path, address: str, words: str) -> None:
    text = told(tmp_path, RAY_ADDRESS=address)
    assert text.startswith(f"RAY_ADDRESS={address}: ")
    assert words in text
    assert "unset it to use a Ray of this machine" in text


def test_a_server_that_speaks_http_2_may_be_a_cluster(tmp_path: Path) -> None:
    with answering(SETTINGS_FRAME) as address:
        assert told(tmp_path, RAY_ADDRESS=address) == ""


def test_a_head_that_never_says_which_cluster_it_is_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(SETTINGS_FRAME) as address:
        for name, value in {
            "RAY_ADDRESS": address,
            "RAY_AUTH_MODE": "disabled",
            "HOME": str(tmp_path),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(session, "GCS_S_MAX", 0.2)
        with (
            pytest.raises(UsageError, match="no Ray cluster answers there: no answer within"),
            ray_session(name="x"),
        ):
            pass


def test_a_name_server_that_is_silent_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    monkeypatch.setattr(environment, "ANSWER_S_MAX", 0.05)
    monkeypatch.setattr(socket, "create_connection", lambda *_: silent.wait(10))
    assert "nothing answers there (no answer within 0 s)" in told(tmp_path, RAY_ADDRESS="head:6379")
    silent.set()


@pytest.mark.parametrize("words", [HTTP_1, b"-ERR\r\n", None])
def test_a_server_that_is_no_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: bytes | None
) -> None:
    monkeypatch.setattr(environment, "ANSWER_S_MAX", 0.5)
    with answering(words) as address:
        assert "no Ray cluster" in told(tmp_path, RAY_ADDRESS=address)


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_without_room_for_sockets_is_refused(tmp_path: Path, name: str) -> None:
    variables = {"RAY_TMPDIR": "", name: "/tmp/" + "long" * 16}
    assert told(tmp_path, **variables).startswith(f"{name}=/tmp/longlong")


def test_a_temporary_folder_that_is_a_file_is_refused() -> None:
    assert "Ray cannot write there" in told(Path("/tmp"), RAY_TMPDIR="/dev/null")


@pytest.mark.parametrize(("variables", "refused"), [
    ({}, False),
    ({"HOME": "/dev/null"}, True),
    ({"HOME": "/dev/null", "RAY_AUTH_MODE": "disabled"}, False),
    ({"RAY_AUTH_TOKEN": "t"}, False),
    ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, True),
])  # fmt: skip
def test_the_token_of_a_ray_of_our_own_must_be_there_or_can_be_made(
    tmp_path: Path, variables: dict[str, str], refused: bool
) -> None:
    assert told(tmp_path, **variables).startswith("Ray authenticates by a token") is refused


@pytest.mark.parametrize(("mode", "refused"), [("token", True), ("disabled", False)])
def test_a_cluster_with_authentication_needs_a_token_that_is_there(
    tmp_path: Path, mode: str, refused: bool
) -> None:
    text = told(tmp_path, RAY_ADDRESS="auto", RAY_AUTH_MODE=mode)
    assert ("there is no such file" in text) is refused


def test_versions_that_differ_are_told_in_one_line() -> None:
    told = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
        "This process on node 127.0.0.1 was started with:\n    Ray: 2.59.0\n    Python: 3.11.7\n"
    )
    assert said(RuntimeError(told)) == (
        "Version mismatch: The cluster was started with: Ray: 2.60.0 Python: 3.11.7 This process on node "
        "127.0.0.1 was started with: Ray: 2.59.0 Python: 3.11.7; the same versions are needed on every node "
        "and here"
    )


@pytest.mark.parametrize(("fault", "words"), [(RuntimeError("a\nb\n"), "b"), (OSError(), "OSError")])
def test_of_other_errors_the_last_line_is_told(fault: Exception, words: str) -> None:
    assert said(fault) == words


@pytest.mark.parametrize(("given", "expected"), [(None, "0"), ("5", "5")])
def test_hosts_of_a_local_ray_yield_to_nobody_unless_asked_to(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", NICENESS)}
    monkeypatch.setattr(os, "environ", kept if given is None else kept | {NICENESS: given})
    seen: list[str | None] = []
    monkeypatch.setattr(session.ray, "init", lambda **_: seen.append(os.environ.get(NICENESS)))
    monkeypatch.setattr(session.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session.ray, "shutdown", lambda: None)
    with session.ray_session(name="test"):
        pass
    assert seen == [expected]


def test_a_ray_that_does_not_end_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    never = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(session, "LEAVE_S_MAX", 0.05)
    monkeypatch.setattr(session.ray, "shutdown", lambda: never.wait(10))
    monkeypatch.setattr(session.ray, "init", lambda **_: None)
    monkeypatch.setattr(session, "check_environment", lambda _: None)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with ray_session(name="x"):
        pass
    never.set()
    assert "Ray did not end within" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
