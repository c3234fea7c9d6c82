"""`swarm serve` as a user has it: a process, a URL, a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FLEET = "name: tiny\ncost: {kind: simple}\n"


@contextmanager
def process(tmp_path: Path, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    command = [sys.executable, "-c", "from swarm.cli import main; main()", "serve", str(file), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **more}) as server:
        try:
            yield server
        finally:
            server.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_url_serves_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    with process(tmp_path, "--port", "0", "--journal", str(tmp_path / "j")) as server:
        assert server.stdout is not None and server.stderr is not None
        url = server.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/v1/models", timeout=20) as answer:
            assert b'"id":"tiny"' in answer.read()
        server.send_signal(number)
        assert server.wait(20) == 0
        assert "warning" not in server.stderr.read()
    assert (tmp_path / "j").read_text().startswith('["fleet",{"name":"tiny"')


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process(tmp_path, "--port", str(port)) as server:
            assert server.wait(20) == 1
            assert server.stderr is not None
            assert f"127.0.0.1:{port} is in use; name another --port" in server.stderr.read()


def test_an_address_that_others_reach_is_warned_of(tmp_path: Path) -> None:
    with process(tmp_path, "--port", "0", "--host", "0.0.0.0") as server:
        assert server.stderr is not None
        assert "warning: 0.0.0.0 is not a loopback address" in server.stderr.readline()


def test_a_key_that_is_not_set_is_a_usage_error_and_is_never_shown(tmp_path: Path) -> None:
    with process(tmp_path, "--port", "0", "--api-key-env", "NO_SUCH_KEY") as server:
        assert server.wait(20) == 2
        assert server.stderr is not None
        assert "names 'NO_SUCH_KEY', which is not set" in server.stderr.read()
