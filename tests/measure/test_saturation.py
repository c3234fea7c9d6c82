"""What was full, and how busy all else was."""

from dataclasses import replace
from typing import Any

import pytest

from swarm.fleet.busy import FleetBusy
from swarm.measure.saturation import (
    FULL,
    Resource,
    ServerBusy,
    bound_by,
    of_clients,
    of_fleet,
    of_servers,
    saturation_summary,
)
from swarm.records.batch import Batch, Gauges

BEFORE = ServerBusy(10.0, (1.0, 1.0), 4.0, 2, {"dram 0 read": 1.0}, 1.0, 100.0, None, None)
AFTER = ServerBusy(
    20.0, (2.0, 6.0), 22.0, 2, {"dram 0 read": 4.0, "dram 0 write": 0.5}, 2.0, 300.0, None, None
)


def batch(at_s: float, host: int = 0, epoch: int = 0, **gauges: Any) -> Batch:
    known = {"sent_bytes": 0, "received_bytes": 0, "cpu_wait_s": 0.0, **gauges}
    made = Gauges(
        at_s=at_s, sessions_started=0, sessions_finished=0, open_requests=0, sent=0, put_off_s=0.0, **known
    )
    return Batch(
        host=host, epoch=epoch, sequence=0, is_last=False, rows=b"", open_rows=0, windows=b"", places=(),
        agents=(), itl=b"", loop_lag=b"", gauges=made, sessions_ended=(), follows=(), faults=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ({"client": 0.2, "prefill": 0.97}, "prefill"),
        ({"client": 0.99, "prefill": 0.97, "store": 1.2}, "store"),
        ({"client": 0.2, "prefill": FULL - 0.01}, None),
        ({"client": None, "prefill": FULL}, "prefill"),
        ({"client": None}, None),
        ({}, None),
    ],
)
def test_the_fullest_resource_bounds_a_run_if_it_is_full(
    shares: dict[Any, float | None], name: str | None
) -> None:
    resources = [Resource(each, share, "") for each, share in shares.items()]
    assert bound_by(resources) == name
    said = saturation_summary(resources)
    assert (said is None) == (not resources)
    assert said is None or said["bound_by"] == name


def test_servers_are_as_busy_as_their_counters_grew_in_the_measured_phase() -> None:
    fronts, prefill, store = of_servers(BEFORE, AFTER)
    assert (fronts.share, prefill.share, store.share) == (0.5, pytest.approx(0.9), pytest.approx(0.3))
    assert "server 1" in fronts.told and "5.0 ms late" in fronts.told
    assert store.told.startswith("dram 0 read")


def test_an_engine_that_is_not_emulated_tells_of_its_queue() -> None:
    engine = replace(BEFORE, prefill_s=None, pipes_s={}, queued_s=0.0, first_token_s=0.0, loops_s=(None,))
    after = replace(engine, at_s=20.0, queued_s=9.0, first_token_s=10.0)
    fronts, prefill, store = of_servers(engine, after)
    assert (fronts.share, prefill.share, store.share) == (None, 0.9, None)
    assert "queue" in prefill.told


@pytest.mark.parametrize(("before", "after"), [(None, AFTER), (BEFORE, None), (AFTER, BEFORE)])
def test_servers_that_could_not_be_asked_are_not_known(
    before: ServerBusy | None, after: ServerBusy | None
) -> None:
    assert {each.share for each in of_servers(before, after)} == {None}


def test_clients_are_as_busy_as_the_busiest_host_was_in_the_measured_phase() -> None:
    batches = [
        batch(0.0, cpu_s=0.0),
        batch(10.0, cpu_s=9.0, sent_bytes=10**9),
        batch(20.0, cpu_s=11.0, cpu_wait_s=3.0, sent_bytes=10**9 + 10**7, received_bytes=5 * 10**7),
        batch(30.0, cpu_s=21.0),
        batch(10.0, host=1, cpu_s=0.0),
        batch(20.0, host=1, cpu_s=4.0),
    ]
    client, network = of_clients(batches, from_s=10.0, to_s=20.0, gbit_per_s=0.1)
    assert (client.share, network.share) == (pytest.approx(0.5), pytest.approx(0.4))
    assert "host 0 used 20%" in client.told
    assert "sent 8.0 Mbit/s and received 40.0, of 100" in network.told
    (_, network) = of_clients(batches, from_s=10.0, to_s=20.0, gbit_per_s=None)
    assert network.share is None and "hosts.network_gbit_per_s" in network.told


def test_a_host_that_was_replaced_counts_from_its_longer_life() -> None:
    batches = [batch(10.0, cpu_s=50.0), batch(11.0, cpu_s=51.0)]
    batches += [batch(12.0, epoch=1, cpu_s=0.0), batch(20.0, epoch=1, cpu_s=2.0)]
    client, _ = of_clients(batches, from_s=10.0, to_s=20.0, gbit_per_s=None)
    assert client.share == pytest.approx(0.25)


def test_a_host_that_told_once_is_not_known() -> None:
    assert [each.share for each in of_clients([batch(12.0, cpu_s=1.0)], from_s=0, to_s=20, gbit_per_s=1)] == [
        None,
        None,
    ]


def test_a_simulated_fleet_is_as_busy_as_its_parts() -> None:
    prefill, store = of_fleet(FleetBusy(30.0, 4, {"a": 1.0, "b": 9.0}), 10.0)
    assert (prefill.share, store.share) == (0.75, 0.9)
    assert store.told.startswith("b ")
