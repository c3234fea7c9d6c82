"""Sessions that others may have: the same analysis, and no name that is not everybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from swarm.workload.shared import is_public_model
from tests.commands.test_logs import invoke

REQUEST = {"type": "s", "api_time": 2.5, "output_types": ["text"], "stop": "end_turn"}


def row(t: float, model: str, ids: list[int], **more: Any) -> dict[str, Any]:
    return {"t": t, "model": model, "in": 16 * len(ids) + 3, "out": 7, "hash_ids": ids, **REQUEST, **more}


def session(name: str, t: float) -> dict[str, Any]:
    agent = {"t": t + 9, "type": "subagent", "agent_id": "for jane", "subagent_type": "acme-billing"}
    return {
        "id": name,
        "models": ["claude-opus-4-5-20251101", "acme-large"],
        "block_size": 16,
        "hash_id_scope": "global",
        "tool_tokens": 3,
        "system_tokens": 16,
        "requests": [
            row(t, "claude-opus-4-5-20251101", [11, 12], read_tokens=0, written_tokens=35, written_ttl=300.0),
            row(
                t + 5, "acme-large", [11, 12, 13], input_types=["tool_result", "my own kind"], read_tokens=32
            ),
            {**agent, "status": "completed", "requests": [row(0.0, "acme-large", [11, 19])]},
        ],
    }


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    for number, name in enumerate(("jane@acme-secret", "jane@acme-2")):
        content = session(name, 1.7e9 + 1000 * number)
        (folder / f"{name}.json").write_bytes(orjson.dumps(content))
    return folder


def shared(own: Path, out: Path, *more: str) -> tuple[str, str]:
    told = invoke("share", str(own), "--out", str(out), *more).stdout
    return told, "".join(file.read_text() for file in sorted(out.iterdir()))


def test_nothing_is_left_that_names_anybody(own: Path, tmp_path: Path) -> None:
    told, content = shared(own, tmp_path / "out")
    assert [word for word in ("jane", "acme", "my own kind", "1700000", ":11,") if word in content] == []
    assert "every name that is left: claude-opus-4-5-20251101, completed, end_turn, text, tool_result" in told
    assert told.splitlines()[-1] == str(tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "session-000001.json",
        "session-000002.json",
    ]


def test_a_name_stays_where_that_is_asked_for(own: Path, tmp_path: Path) -> None:
    _, content = shared(own, tmp_path / "out", "--keep", "acme-large")
    assert "acme-large" in content and "acme-billing" not in content


def test_what_caches_make_of_them_is_the_same(own: Path, tmp_path: Path) -> None:
    shared(own, tmp_path / "out")
    found = []
    for number, folder in enumerate((own, tmp_path / "out")):
        invoke("analyze", str(folder), "--json", str(tmp_path / f"{number}.json"))
        told = orjson.loads((tmp_path / f"{number}.json").read_bytes())
        found.append([told[key] for key in ("requests", "subagents", "input_tokens", "output_tokens", "lru")])
        found[-1] += [row["hit_rate"] for row in told["ttl"] if row["ttl_s"] is None]
        found[-1] += [told["recorded"]["read_tokens"]]
    assert found[0] == found[1]
    assert found[0][:4] == [6, 2, 6 * 3 + 16 * 14, 42]


def test_ids_of_two_sharings_have_nothing_in_common(own: Path, tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        shared(own, tmp_path / name)
        told = orjson.loads((tmp_path / name / "session-000001.json").read_bytes())
        ids.append({each for entry in told["requests"] for each in entry.get("hash_ids", ())})
    assert len(ids[0]) == 3 and not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("name", "is_public"),
    [
        ("claude-opus-4-8", True),
        ("claude-sonnet-4-5-20250929[1m]", True),
        ("gpt-5.1-codex-max", True),
        ("gpt-4o-mini", True),
        ("o3", True),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", True),
        ("zai-org/GLM-4.6", True),
        ("gemini-2.5-flash", True),
        ("claude-opus-acme", False),
        ("acme/claude-opus-4-8", False),
        ("ft:gpt-4o:acme::9xYz", False),
        ("gpt-5-deployment-jane", False),
        ("1" * 64, False),
        ("claude" + "-1" * 400, False),
        ("", False),
    ],
)
def test_public_models(name: str, is_public: bool) -> None:
    assert is_public_model(name) is is_public
