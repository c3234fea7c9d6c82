"""Where a run comes from: what `run.yaml` says beside the experiment itself."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "pyarrow", "pandas", "pydantic", "ddsketch", "ray", "httptools", "uvloop")
"""Whose versions may change a result or its cost."""
GIT_TIMEOUT_S = 5.0


def command() -> str:
    """Return the command line that this process was started with."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def origin_of(*, run_id: str, mode: str, seed: int, by_command: str | None) -> dict[str, Any]:
    """Return who runs what, with which versions, by which command."""
    return {
        "run_id": run_id,
        "mode": mode,
        "seed": seed,
        "command": by_command,
        "commit": commit(),
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Swarm, Python and what they stand on; None for what is not installed."""
    found: dict[str, str | None] = {
        "swarm": _version("swarm-emulator"),
        "build": build(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return found | {name: _version(name) for name in LIBRARIES}


def build() -> str:
    """Return whether the path of a simulated request is `compiled` or `plain`: same bytes, twice the CPU."""
    spec = find_spec("swarm.fleet.rank")
    assert spec is not None and spec.origin is not None
    return "compiled" if spec.origin.endswith(tuple(EXTENSION_SUFFIXES)) else "plain"


def commit() -> str | None:
    """Return the commit of the source tree that runs, `+` after it if files were changed; None elsewhere."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return None
    head = _git(package, "rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git(package, "status", "--porcelain", "--untracked-files=no", "--", str(package))
    return f"{head}+" if changed else head


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
