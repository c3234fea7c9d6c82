"""Agents of frameworks that others wrote come back from the proxy as the tree they were: `pytest -m sdk`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from subprocess import Popen

import pytest

from swarm.workload.formats import read_sessions
from swarm.workload.recorded import RecordedRequest

PACKAGES = ["pydantic-ai-slim[openai,anthropic]", "openai-agents"]
CLIENTS = Path(__file__).parent / "clients"
FLEET = Path(__file__).parents[2] / "experiments" / "fleets" / "laptop.yaml"
SWARM = [sys.executable, "-c", "from swarm.cli import main; main()"]
CASES = [
    ("pydantic_ai_tree", "chat"),
    ("pydantic_ai_tree", "responses"),
    ("pydantic_ai_tree", "messages"),
    ("openai_agents_tree", "chat"),
    ("openai_agents_tree", "responses"),
]


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment that has the frameworks."""
    name = blake2b("\n".join(PACKAGES).encode(), digest_size=6).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"swarm-capture-sdk-{name}"
    binary = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([binary, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "whole").touch()
    return binary


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A served fleet, in a process of its own."""
    with Popen([*SWARM, "serve", str(FLEET), "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.mark.sdk
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("script", "api"), CASES)
def test_agents_come_back_as_the_tree_that_they_were(
    python: Path, url: str, tmp_path: Path, script: str, api: str
) -> None:
    out = tmp_path / "out"
    command = [*SWARM, "capture", "--upstream", url, "--out", str(out), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        front = proxy.stdout.readline().strip()
        client = [python, CLIENTS / f"{script}.py", front, api]
        done = subprocess.run(client, capture_output=True, text=True, env=environment, timeout=300)
        proxy.send_signal(signal.SIGINT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert proxy.returncode == 0
    assert "sk-secret" not in "".join(file.read_text() for file in out.iterdir())
    (session,) = read_sessions(out, "auto")
    requests = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    told = [len(requests), *sorted(len(agent.requests) for agent in session.subagents())]
    assert told == json.loads(done.stdout.splitlines()[-1])
    openings = {request.input_types[0] for request in requests}
    assert openings == {"text", "tool_result"}
