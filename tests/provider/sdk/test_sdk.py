"""Clients that others wrote, against a served fleet: `pytest -m sdk`.

Each script under `clients/` is one client's user: it asserts what it needs and ends with "ok". They run in an
environment of their own, made once for these packages and kept in the system's folder for temporary files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

PACKAGES = [
    "openai",
    "anthropic",
    "litellm",
    "langchain-openai",
    "langchain-anthropic",
    "pydantic-ai-slim[openai,anthropic]",
    "openai-agents",
]
CLIENTS = sorted((Path(__file__).parent / "clients").glob("*.py"))
FLEET = Path(__file__).parents[3] / "experiments" / "fleets" / "laptop.yaml"


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment that has the clients."""
    name = blake2b("\n".join(PACKAGES).encode(), digest_size=6).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"swarm-sdk-{name}"
    binary = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([binary, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "whole").touch()
    return binary


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A served fleet, in a process of its own."""
    command = [sys.executable, "-c", "from swarm.cli import main; main()", "serve", str(FLEET), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.mark.sdk
@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", CLIENTS, ids=[script.stem for script in CLIENTS])
def test_a_client_that_others_wrote_gets_what_it_needs(python: Path, url: str, script: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, script, url], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "ok"
