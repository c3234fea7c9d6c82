"""Workloads against the length that a target takes."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.errors import ConfigError
from swarm.workload.reach import check_reach, cut_contexts


def experiment(workload: dict[str, Any], context_tokens: int | None) -> Experiment:
    target = {"urls": ["http://127.0.0.1:9"], "context_tokens": context_tokens}
    return validate(Experiment, {"name": "one", "workload": workload, "target": target}, "test")


@pytest.mark.parametrize(
    ("workload", "context_tokens", "words"),
    [
        ({"kind": "synthetic"}, 131_072, "workload.high_watermark to at most 127,000"),
        ({"kind": "synthetic"}, 8_192, "tools and system prompt alone are 15,000"),
        ({"kind": "prompt_set", "prompt_tokens": 8_192}, 8_192, "requests of about 8,193 tokens"),
    ],
)
def test_what_cannot_fit_is_refused(workload: dict[str, Any], context_tokens: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_reach(experiment(workload, context_tokens))


@pytest.mark.parametrize(
    ("workload", "context_tokens"),
    [
        ({"kind": "synthetic", "high_watermark": 127_000}, 131_072),
        ({"kind": "synthetic"}, None),
        ({"kind": "prompt_set", "prompt_tokens": 8_191}, 8_192),
        ({"kind": "replay", "path": "any"}, 10),
    ],
)
def test_what_fits_or_is_not_known_is_not(workload: dict[str, Any], context_tokens: int | None) -> None:
    check_reach(experiment(workload, context_tokens))


@pytest.mark.parametrize(
    ("median", "sigma", "notes"),
    [
        (8_000, 0.8, 0),
        (40_000, 0.8, 1),
        (90_000, 0.0, 1),
        (70_000, 0.0, 0),
    ],
)
def test_first_contexts_that_are_cut_are_told(median: float, sigma: float, notes: int) -> None:
    first = {"median": median, "sigma": sigma, "most": 200_000}
    found = cut_contexts(experiment({"kind": "synthetic", "first_context": first}, None).workload)
    assert len(found) == notes
    assert all("half of workload.high_watermark, 80,000 tokens" in note for note in found)
