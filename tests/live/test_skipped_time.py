"""A whole live run that skips idle time says how much, and takes so much less."""

from __future__ import annotations

from pathlib import Path

from swarms import driven, experiment

from swarm.measure.notes import skipped_told


def test_a_run_tells_what_it_skipped(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    rows = ",".join(
        f'{{"t": {20 * turn}, "type": "s", "model": "m", "in": 64, "out": 5, "hash_ids": [1], '
        f'"api_time": 0.1, "think_time": {19.9 if turn else 0}}}'
        for turn in range(4)
    )
    head = '"id": "a", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 0'
    (tmp_path / "traces" / "a.json").write_text(f'{{{head}, "system_tokens": 0, "requests": [{rows}]}}')
    config = experiment(
        workload={
            "kind": "replay",
            "path": str(tmp_path / "traces"),
            "format": "weka",
            "system_idle_cap_s": 0.1,
            "replies": "planned",
        },
        load={"agents": 1, "duration_s": None, "drain_s": 1},
        hosts={"count": 1},
    )
    results = driven(config, tmp_path / "journal").results()
    rows_by_turn = sorted(results.rows.to_pylist(), key=lambda row: row["turn"])
    assert 58.5 < results.skipped_s < 59.7
    assert rows_by_turn[-1]["intended_s"] < 5
    assert skipped_told(results.skipped_s)[0].startswith(f"{results.skipped_s:.1f} s without any request")
