"""A live run on two hosts ends within its budget, by the server's own counts."""

from __future__ import annotations

from pathlib import Path

from swarms import aimed, driven, experiment, provider

from swarm.measure.latency import floats

TOKENS = 60_000


def test_a_run_ends_before_its_budget_is_passed(tmp_path: Path) -> None:
    config = experiment(
        load={"agents": 8, "ramp_s": 0.3, "duration_s": 60, "drain_s": 1.0, "budget": {"tokens_max": TOKENS}}
    )
    with provider(config) as port:
        run = driven(aimed(config, port), tmp_path / "journal")
    rows = run.results().rows
    spent = sum(float(floats(rows, name).sum()) for name in ("planned_prompt_tokens", "output_tokens"))
    assert 0.7 * TOKENS < spent <= TOKENS
    assert run.end.at_s < 60
    assert "load.budget was spent" in run.end.notes[0]
