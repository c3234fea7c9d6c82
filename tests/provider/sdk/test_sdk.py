"""Clients that others wrote, against a served fleet: `pytest -m sdk`.

Each script under `clients/` is one client's user: it asserts what it needs and ends with "ok". They run in
environments of their own, made once for these packages and kept in the system's folder for temporary files.
"""

from __future__ import annotations

import os
import shutil
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
NODE_PACKAGES = ["openai", "@anthropic-ai/sdk", "zod"]
"""OpenAI's helpers import the last one."""
CLIENTS = Path(__file__).parent / "clients"
FLEET = Path(__file__).parents[3] / "experiments" / "fleets" / "laptop.yaml"
SETTINGS = ["--set", "serving.parallel_call_rate=0.3", "--set", "cost.decode_base_s=0.0005"]
"""Several calls in a reply now and then, and replies that nobody waits for long."""


def kept_folder(packages: list[str]) -> Path:
    """Return where an environment with these packages is, or will be."""
    name = blake2b("\n".join(packages).encode(), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"swarm-sdk-{name}"


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment that has the clients."""
    folder = kept_folder(PACKAGES)
    binary = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([binary, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "whole").touch()
    return binary


@pytest.fixture(scope="session")
def node() -> tuple[str, Path]:
    """Node, and a folder whose scripts find the clients."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("needs node and npm, which are not installed here: apt-get install nodejs npm")
    folder = kept_folder(NODE_PACKAGES)
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        subprocess.run([npm, "install", "--silent", "--prefix", folder, *NODE_PACKAGES], check=True)
        (folder / "whole").touch()
    return found, folder


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A served fleet, in a process of its own."""
    command = [sys.executable, "-c", "from swarm.cli import main; main()", "serve", str(FLEET), "--port", "0"]
    with subprocess.Popen([*command, *SETTINGS], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def scripts(ending: str) -> list[str]:
    return sorted(script.name for script in CLIENTS.glob(f"*{ending}"))


def assert_ends_well(*command: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "ok"


@pytest.mark.sdk
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("script", scripts(".py"))
def test_a_client_in_python_gets_what_it_needs(python: Path, url: str, script: str) -> None:
    assert_ends_well(python, CLIENTS / script, url)


@pytest.mark.sdk
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("script", scripts(".mjs"))
def test_a_client_in_node_gets_what_it_needs(node: tuple[str, Path], url: str, script: str) -> None:
    binary, folder = node
    # A script's own folder is where its packages are looked for.
    assert_ends_well(binary, shutil.copy(CLIENTS / script, folder), url)
