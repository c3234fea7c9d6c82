"""Programs written into a folder, each under a module's name that no other test has."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NUMBERS = itertools.count()
HEAD = "from swarm import Agent, Infer, Join, Spawn, Think\n\n\n"
FLEET = {
    "block_tokens": 4,
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 1e5,
        "decode_base_s": 0.001,
        "kv_capacity_tokens": 100_000,
    },
}
Write = Callable[..., dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a module and returns an experiment that runs its `main`."""

    def written(text: str, *, function: str = "main", head: str = HEAD, **parts: Any) -> dict[str, Any]:
        name = f"program_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(head + textwrap.dedent(text))
        parameters = parts.pop("parameters", {})
        return {
            "name": "own",
            "workload": {
                "kind": "program",
                "program": f"{name}:{function}",
                "path": str(tmp_path),
                "parameters": parameters,
            },
            "load": {"agents": 6, "ramp_s": 3, "duration_s": 20, "drain_s": 1},
            "fleet": FLEET,
            "charts": [],
            **parts,
        }

    return written
