"""What is lost when parts of a running swarm are lost, on a cluster of several nodes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest

from swarm.records.journal import read_batches

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
"""Processes start slowly where a machine is busy; nothing here waits for a fixed time."""

LONG_REPLIES = {"median": 200, "sigma": 0.2, "least": 100, "most": 300}
"""Of some 0.4 s, about as long as the agents think: at any time many turns are open."""


def summary(out: Path) -> dict[str, Any]:
    return orjson.loads((out / "summary.json").read_bytes())


def rows(out: Path) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(out / "requests.parquet").to_pylist()


def check_books(out: Path) -> None:
    """Hold that every request is in one place, that every turn follows the one before it, once."""
    requests = summary(out)["requests"]
    parts = ("finished", "failed", "interrupted", "in_flight", "unaccounted")
    assert requests["sent"] == sum(requests[part] for part in parts)
    table = rows(out)
    assert len(table) == sum(requests[part] for part in parts[:3])
    answered = Counter((row["agent"], row["turn"]) for row in table if row["outcome"] != "interrupted")
    assert max(answered.values()) == 1
    assert all((agent, turn - 1) in answered for agent, turn in answered if turn)
    # What the hosts journaled and the coordinator acknowledged is all there.
    journaled = {
        (row["agent"], row["turn"], row["completed_s"])
        for batch in read_batches(sorted((out / "journal").glob("*.journal")))
        for row in _final(batch)
    }
    assert journaled
    assert journaled <= {(row["agent"], row["turn"], row["completed_s"]) for row in table}


def _final(batch: Any) -> list[dict[str, Any]]:
    from swarm.records.takeover import split

    return split(batch)[0].to_pylist()


def test_a_run_outlives_its_hosts_its_coordinator_and_a_node(nodes, swarm_run) -> None:
    nodes.add()  # in the place of the one that is lost
    run = swarm_run(
        hosts__count=4,
        hosts__provider_fronts=2,
        fleet__replicas=[{"count": 2}],
        load__duration_s=20,
        workload__output=LONG_REPLIES,
    )
    for host in range(4):
        run.wait_for_batches(host, 3)
    (coordinator,) = nodes.processes("RemoteCoordinator")
    lost = max(nodes.workers(), key=lambda node: _loss_by(nodes, node))
    on_lost = nodes.processes("RemoteHost", lost)
    assert on_lost, "no host runs on the node that is to be lost"
    elsewhere = [pid for pid in nodes.processes("RemoteHost") if pid not in on_lost]
    os.kill(elsewhere[0], signal.SIGKILL)
    run.wait_until(lambda: len(list((run.out / "journal").glob("host-*-1.journal"))) >= 1)
    os.kill(coordinator, signal.SIGKILL)
    nodes.kill(lost)
    code, text = run.end()
    assert code == 0, text
    check_books(run.out)
    table = rows(run.out)
    resumed_hosts = {row["host"] for row in table if row["resumed"]}
    assert len(resumed_hosts) >= 1 + len(on_lost)
    after_loss = _first_after_loss(table)
    assert after_loss, "no turn was open when its host was lost, so the run tells nothing of such turns"
    assert all(row["resumed"] for row in after_loss)
    assert summary(run.out)["requests"]["unaccounted"] <= 24 * (1 + len(on_lost))


def _loss_by(nodes: Any, node: Any) -> tuple[bool, bool, int]:
    """Return how much the loss of a node tells: of hosts, and of no part of the target."""
    hosts = len(nodes.processes("RemoteHost", node))
    return hosts > 0, not nodes.processes("RemoteProvider", node), hosts


def _first_after_loss(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of turns whose first attempt was lost."""
    lost = {(row["agent"], row["turn"]) for row in table if row["error_class"] == "host_lost"}
    return [row for row in table if (row["agent"], row["turn"]) in lost and row["outcome"] == "ok"]


def test_a_paused_host_is_replaced_and_what_it_says_later_does_not_count(nodes, swarm_run) -> None:
    run = swarm_run(hosts__count=2, hosts__silent_max_s=3, load__duration_s=14)
    for host in range(2):
        run.wait_for_batches(host, 3)
    paused = nodes.processes("RemoteHost")[0]
    os.kill(paused, signal.SIGSTOP)
    run.wait_until(lambda: len(list((run.out / "journal").glob("host-*-1.journal"))) == 1)
    assert paused not in nodes.processes("RemoteHost"), "the paused host must be ended before it is replaced"
    code, text = run.end()
    assert code == 0, text
    check_books(run.out)
    assert {row["host"] for row in rows(run.out) if row["resumed"]} in ({0}, {1})


def test_a_run_whose_driver_died_is_gone_on_with(nodes, swarm_run) -> None:
    run = swarm_run(hosts__count=2, load__duration_s=12)
    for host in range(2):
        run.wait_for_batches(host, 6)
    run.process.kill()
    run.process.communicate()
    stopped_s = max(
        batch.gauges.at_s for batch in read_batches(sorted((run.out / "journal").glob("*.journal")))
    )
    again = swarm_run("--resume", str(run.out))
    code, text = again.end()
    assert code == 0, text
    assert text.strip().splitlines()[-1] == str(run.out)
    check_books(run.out)
    resumed = [row["intended_s"] for row in rows(run.out) if row["resumed"]]
    assert resumed and min(resumed) >= stopped_s
    assert summary(run.out)["duration_s"] == 12
