"""What a file's faults read like: the key as the file has it, what was found, what is allowed."""

from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.errors import ConfigError

SYNTHETIC = {"kind": "synthetic"}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"workload": {"kind": "foo", "turns": {"median": 1}}},
            "workload.kind: found 'foo'; must be one of 'synthetic', 'replay', 'profile', 'prompt_set'",
        ),
        ({"workload": {}}, "workload.kind: required, not found"),
        ({"workload": 5}, "workload: found 5; a mapping of keys is expected"),
        ({"load": {"shape": {"kind": "x"}}}, "load.shape.kind: found 'x'; must be one of "),
        ({"load": {"search": {}}}, "load.search looks for the most agents within the SLO: add objectives"),
        ({"load": {"warmup_s": 90}}, "load.warmup_s: 90 is not shorter than duration_s: 60"),
        ({"load": {"agents": {"a": 1}}}, "load.agents: found a mapping; a whole number is expected"),
        ({"load": [1]}, "load: found a list of 1; a mapping of keys is expected"),
        ({"load": {"agents": 0}}, "load.agents: found 0; must be greater than or equal to 1"),
        (
            {"workload": {**SYNTHETIC, "turns": {"median": "x", "sigma": 1}}},
            "workload.turns.median: found 'x'; a number is expected",
        ),
        ({"workload": {**SYNTHETIC, "turn": 1}}, "workload.turn: unknown key; did you mean 'turns'?"),
        ({"laod": {}}, "laod: unknown key; did you mean 'load'?"),
        ({"load": {"agent": 1}}, "load.agent: unknown key; did you mean 'agents'?"),
        (
            {"load": {"shape": {"kind": "ramp", "over_s": 1, "x": 1}}},
            "load.shape.x: unknown key; known here: kind, over_s",
        ),
        (
            {"slo": [{"metric": "ttft_s", "at_most": 1, "qantile": 0.5}]},
            "slo.0.qantile: unknown key; did you mean 'quantile'?",
        ),
        (
            {"fleet": {"replicas": [{"cuont": 1}]}},
            "fleet.replicas.0.cuont: unknown key; did you mean 'count'?",
        ),
        ({"agents": 5}, "agents: unknown key; did you mean load.agents?"),
        ({"load": {"concurrency": 5}}, "load.concurrency: unknown key; did you mean 'agents'?"),
        (
            {"fleet": {"max_num_seqs": 5}},
            "fleet.max_num_seqs: unknown key; did you mean fleet.replicas[].max_sequences?",
        ),
        (
            {"fleet": {"kv_bytes_per_token": 5}},
            "fleet.kv_bytes_per_token: unknown key; did you mean fleet.cost.kv_bytes_per_token?",
        ),
        (
            {"fleet": {"tiers": [{"name": "hbm", "ttl": 5}]}},
            "fleet.tiers.0.ttl: unknown key; did you mean 'ttl_s'?",
        ),
        (
            {"fleet": {"gpu_memory_utilization": 1}},
            "fleet.gpu_memory_utilization: unknown key; did you mean fleet.cost.memory_fraction?",
        ),
        (
            {"workload": {"kind": "synthetic", "format": "weka"}},
            "workload.format: unknown key; it goes with kind: replay, not with synthetic",
        ),
        (
            {"fleet": {"cost": {"kind": "simple", "memory_fraction": 0.8}}},
            "fleet.cost.memory_fraction: unknown key; it goes with kind: roofline, not with simple",
        ),
        ({"target": {"base_url": "a"}}, "target.base_url: unknown key; did you mean 'urls'?"),
        ({"load": {"gates": 1}}, "load.gates: unknown key; known here: admission, "),
        ({"load": {"kind": 1}}, "load.kind: unknown key; known here: admission, "),
        ({"description": ["a"]}, "description: found a list of 1; a text is expected"),
        ({"seed": "x" * 500}, "seed: found '" + "x" * 119 + "…; a whole number is expected"),
    ],
)
def test_a_fault_is_a_sentence(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        validate(Experiment, {"name": "t", "workload": SYNTHETIC, **parts}, "file")
    head, line = str(fault.value).splitlines()
    assert head == "file: 1 fault(s)"
    assert line.startswith(f"  {said}")
