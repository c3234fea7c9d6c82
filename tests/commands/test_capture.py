"""`swarm capture` from its start to a signal; and the ways in which it is asked wrongly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from swarm.commands.capture import Wish, capture
from swarm.errors import RunError, UsageError

SWARM = [sys.executable, "-c", "from swarm.cli import main; main()"]


def wish(out: Path, **changes: object) -> Wish:
    settings = {
        "upstream": "http://127.0.0.1:9",
        "out": out,
        "host": "127.0.0.1",
        "port": 0,
        "keeps_content": False,
        "file_mib": 1,
        "folder_mib": 4,
        "drain_s": 0.0,
        "ca_file": None,
    }
    return Wish(**(settings | changes))  # type: ignore[arg-type]


def test_it_relays_until_a_signal_and_sums_up(tmp_path: Path) -> None:
    command = [*SWARM, "capture", "--upstream", "127.0.0.1:9", "--out", str(tmp_path / "out"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None and proxy.stderr is not None
        url = proxy.stdout.readline().strip()
        body = {"messages": [{"role": "user", "content": "x"}]}
        assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 502
        assert httpx.get(f"{url}/status").json()["on_the_wire"] == {"unreachable": 1}
        proxy.send_signal(signal.SIGTERM)
        said = proxy.stderr.read()
    assert proxy.returncode == 0
    assert "1 request written" in said
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upstream": "ftp://x"}, "--upstream: 'ftp://x' is not a base URL"),
        ({"upstream": "http://x/v1/chat/completions?a=b"}, "without a query"),
        ({"folder_mib": 3}, "less than four files"),
    ],
)
def test_what_cannot_be_is_said_before_anything_begins(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        capture(wish(tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"127.0.0.1:{port} is in use"):
            capture(wish(tmp_path / "out", port=port))
