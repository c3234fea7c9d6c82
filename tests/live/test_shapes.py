"""A load that falls and rises, live: the same sessions as in virtual time."""

import asyncio
import time

from swarms import aimed, experiment, provider

from swarm.live.host import Host
from swarm.live.host_plan import HostPlan
from swarm.records.takeover import split
from swarm.sim.run import simulate

POINTS = [[0, 4], [1.0, 1], [2.0, 3]]
WORKLOAD = {
    "kind": "prompt_set",
    "prompt_tokens": 64,
    "turns": 1000,
    "output_tokens": 2,
    "think_s": {"median": 0.1, "sigma": 0.2},
}


async def played(config):
    """Return the rows of one host that plays all slots."""
    batches = []

    async def take(batch):
        batches.append(batch)
        return batch.sequence

    host = Host(HostPlan(config, host=0, hosts=1, epoch=0, journal=None, follows=(), takeover=None), ())
    host.begin(time.time())
    await host.run(take)
    await host.close()
    return [row for batch in batches for row in split(batch)[0].to_pylist()]


def test_slots_close_and_open_as_the_schedule_says():
    load = {"shape": {"kind": "schedule", "points": POINTS}, "duration_s": 3.0, "drain_s": 1.0}
    config = experiment(workload=WORKLOAD, load=load)
    with provider(config) as port:
        rows = asyncio.run(played(aimed(config, port)))
    simulated = simulate(config, ()).rows.to_pylist()
    # Four sessions, of which three are retired at 1 s; two more from 2 s on.
    assert {row["session"] for row in rows} == {row["session"] for row in simulated}
    assert len({row["session"] for row in rows}) == 6
    assert {row["session"] for row in rows if 1.0 <= row["intended_s"] < 2.0} == {"s000000"}
