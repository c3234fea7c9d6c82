"""Hosts' shares of their cores, from what they report."""

import pytest

from swarm.measure.hosts import host_loads, hosts_summary
from swarm.measure.sketch import Sketch
from swarm.records.batch import Batch, Gauges


def batch(
    host: int, epoch: int, at_s: float, cpu_s: float, wait_s: float | None, lag_s: float = 0.0
) -> Batch:
    lag = Sketch()
    lag.add_many([lag_s])
    gauges = Gauges(
        at_s=at_s,
        sessions_started=0,
        sessions_finished=0,
        open_requests=0,
        sent=0,
        cpu_s=cpu_s,
        cpu_wait_s=wait_s,
        put_off_s=0.0,
    )
    return Batch(
        host=host,
        epoch=epoch,
        sequence=int(at_s),
        is_last=False,
        rows=b"",
        open_rows=0,
        windows=b"",
        places=(),
        agents=(),
        itl=b"",
        loop_lag=lag.to_bytes(),
        gauges=gauges,
        sessions_ended=(),
        follows=(),
        faults=(),
    )


def test_shares_are_of_the_time_between_the_first_and_the_last_report() -> None:
    (load,) = host_loads([batch(0, 0, 1.0, 5.0, 0.0), batch(0, 0, 11.0, 9.0, 1.0)], {0: 0.002})
    assert (load.cpu_share, load.cpu_wait_share, load.clock_offset_s) == pytest.approx((0.4, 0.1, 0.002))


def test_a_host_that_came_back_counts_by_its_epochs() -> None:
    reports = [batch(0, 0, 0.0, 0.0, None), batch(0, 0, 10.0, 4.0, None), batch(0, 1, 20.0, 0.0, None)]
    (load,) = host_loads([*reports, batch(0, 1, 30.0, 6.0, None)], {})
    assert load.cpu_share == pytest.approx(0.5)
    assert load.cpu_wait_share is None


def test_one_report_tells_no_share() -> None:
    (load,) = host_loads([batch(0, 0, 1.0, 5.0, 0.0)], {})
    assert load.cpu_share is None


def test_the_summary_names_the_worst_host() -> None:
    reports = [
        batch(host, 0, at_s, at_s * host / 10, 0.0, lag_s=host / 100)
        for host in (1, 2)
        for at_s in (0.0, 9.0)
    ]
    summary = hosts_summary(host_loads(reports, {}))
    assert summary is not None
    assert summary["worst_cpu_share"] == {"value": pytest.approx(0.2), "host": 2}
    assert summary["worst_clock_offset_s"] is None


def test_there_are_no_hosts_in_virtual_time() -> None:
    assert hosts_summary(()) is None
