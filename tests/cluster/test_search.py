"""The live search: levels on wall time, directed from the driver, to an answer known in closed form."""

from __future__ import annotations

import orjson
import pytest

BASE_S, MORE_S, TOKENS = 0.01, 0.005, 20
TRUTH = 2


def tpot_s(agents: float) -> float:
    """Return the TPOT of agents that ask again at once: each decodes in all but 2 of 21 steps."""
    return BASE_S + MORE_S * (agents * (TOKENS - 1) / (TOKENS + 1) - 1)


@pytest.mark.slow
def test_a_live_search_finds_the_capacity_known_in_closed_form(swarm_run) -> None:
    run = swarm_run(
        workload={
            "kind": "prompt_set",
            "prompts": 4,
            "prompt_tokens": 512,
            "output_tokens": TOKENS,
            "turns": 1_000_000,
            "think_s": {"median": 0.001, "sigma": 1.0},
        },
        load={
            "ramp_s": 0.5,
            "drain_s": 2,
            "search": {"agents_max": 4, "hold_min_s": 4, "hold_max_s": 16, "requests_min": 10},
        },
        hosts={"count": 2, "report_every_s": 0.5},
        fleet={
            "cost": {
                "kind": "simple",
                "prefill_tokens_per_s": 1e9,
                "decode_base_s": BASE_S,
                "decode_per_sequence_s": MORE_S,
                "kv_capacity_tokens": 1_000_000,
            }
        },
        slo=[{"metric": "tpot_s", "quantile": 0.5, "at_most": tpot_s(TRUTH + 0.5)}],
    )
    code, text = run.end()
    assert code == 0, text
    summary = orjson.loads((run.out / "summary.json").read_bytes())
    capacity = summary["capacity"]
    assert (capacity["agents_low"], capacity["agents_high"]) == (TRUTH, TRUTH)
    assert capacity["bound_by"] == "decode"
    assert capacity["is_complete"]
    verdicts = {level["agents"]: level["verdict"] for level in capacity["levels"]}
    assert verdicts == {1: "passed", 2: "passed", 3: "failed", 4: "failed"}
