"""A host against every hostile server at once: each request has its outcome, in time, in bounded memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import hostile_cases
import pytest
from memory import Peak
from swarms import experiment

from swarm.live.coordinator import Coordinator, CoordinatorPlan
from swarm.live.host import Host
from swarm.live.host_plan import HostPlan
from swarm.measure.results import results_of
from swarm.records.batch import Batch
from swarm.records.journal import read_batches
from swarm.workload.source import Material

CASES = hostile_cases.CASES
MEMORY_BYTES_MAX = 100e6
SHORT_S, LONG_S = 1.0, 30.0
"""Timeouts of the requests that are to meet them, and of the others."""


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What a host met at every case once: rows by case, and by how many bytes it grew."""
    waits = [name for name, case in CASES.items() if case.outcome.startswith("timeout")]
    script = [sys.executable, hostile_cases.__file__]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            late = _met(waits, port, tmp_path_factory.mktemp("late"), SHORT_S)
            rest = _met(
                [name for name in CASES if name not in waits], port, tmp_path_factory.mktemp("rest"), LONG_S
            )
        finally:
            server.kill()
    # What a host takes by itself came with the first of them.
    return SimpleNamespace(rows={**late.rows, **rest.rows}, parts=(late, rest), grown=rest.grown)


def _met(names: list[str], port: int, folder: Path, timeout_s: float) -> SimpleNamespace:
    urls = [hostile_cases.base(port, name) for name in names]
    timeouts = {"connect_s": LONG_S, "first_token_s": timeout_s, "between_tokens_s": timeout_s}
    config = experiment(
        workload={"kind": "prompt_set", "prompts": 1, "prompt_tokens": 16, "output_tokens": 5},
        load={"agents": len(urls), "ramp_s": 0.5, "sessions_max": len(urls), "duration_s": 90, "drain_s": 1},
        target={
            "urls": urls,
            "model": "m",
            "routing": "round_robin",
            "retry": {"attempts_max": 1},
            "timeouts": {**timeouts, "total_s": 2 * timeout_s},
        },
    )
    coordinator = Coordinator(CoordinatorPlan.of(config, str(folder), epoch=0))

    async def receive(batch: Batch) -> int:
        return coordinator.receive(batch)

    async def go() -> None:
        plan = HostPlan(config, host=0, hosts=1, epoch=0, journal=str(folder), follows=(), takeover=None)
        host = Host(plan, Material())
        host.begin(time.time())
        await host.run(receive)
        await host.close()

    peak = Peak()
    peak.start()
    asyncio.run(go())
    grown = peak.stop()
    settled = results_of(
        read_batches(sorted(folder.glob("*.journal"))),
        config,
        ended_s=90.0,
        faults=(),
        counters=None,
        sessions_asked_mean=None,
        clock_offsets_s={},
    )
    rows = {row["endpoint"]: row for row in settled.rows.to_pylist()}
    return SimpleNamespace(
        rows={name: rows.get(url) for name, url in zip(names, urls, strict=True)},
        totals=settled.totals,
        sent=len(urls),
        grown=grown,
        bound_s=2 * timeout_s,
    )


@pytest.mark.parametrize("name", CASES)
def test_a_request_comes_to_what_its_server_did(met: SimpleNamespace, name: str) -> None:
    row = met.rows[name]
    assert row is not None, "the request was sent, and has a row"
    assert (row["error_class"] or row["outcome"]) == CASES[name].outcome


def test_each_request_ended_within_its_timeouts(met: SimpleNamespace) -> None:
    # The watch looks ten times within the shortest timeout; the rest is for a machine that is busy.
    taken = [
        (name, row["completed_s"] - row["sent_s"] - part.bound_s)
        for part in met.parts
        for name, row in part.rows.items()
    ]
    assert [name for name, beyond_s in taken if beyond_s > 5.0] == []


def test_the_host_held_no_more_than_its_bound(met: SimpleNamespace) -> None:
    print(f"grew by {met.grown / 1e6:.0f} MB")
    assert met.grown < MEMORY_BYTES_MAX


def test_every_request_is_accounted_for(met: SimpleNamespace) -> None:
    assert [(part.totals.sent, part.totals.unaccounted) for part in met.parts] == [
        (part.sent, 0) for part in met.parts
    ]


def test_errors_are_words_that_a_terminal_can_show(met: SimpleNamespace) -> None:
    examples = [example for part in met.parts for example in part.totals.examples]
    assert {example.error_class for example in examples} >= {"malformed", "too_large", "timeout_total"}
    words = [example.words for example in examples]
    assert all(len(text) <= 500 and text.isprintable() and "Traceback" not in text for text in words)
