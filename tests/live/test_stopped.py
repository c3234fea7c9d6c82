"""A run is stopped, as by Ctrl-C, and gone on with: nothing of it was lost, and nothing counts twice."""

import signal

import pytest
from swarms import FLEET, driven, experiment

from swarm.interrupts import Interrupts
from swarm.live.driver.recovered import recover
from swarm.measure.series import series
from swarm.records.takeover import split


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two hosts that was stopped in its ramp and resumed: what its hosts took over, and the run."""
    config = experiment(load__ramp_s=4.0, load__sessions_max=None, load__duration_s=6.0, load__drain_s=0.5)
    folder = tmp_path_factory.mktemp("run")
    interrupts, rows = Interrupts(), 0

    def stop_after_40_rows(_, batch) -> None:
        nonlocal rows
        rows += split(batch)[0].num_rows
        if rows >= 40:
            interrupts.received = signal.SIGTERM

    first = driven(config, folder, interrupts=interrupts, on_batch=stop_after_40_rows)
    assert first.end.at_s < 6.0, "the run ended before it was stopped"
    again = driven(config, folder, recovered=recover(folder))
    assert [(plan.host, plan.epoch) for plan in again.plans] == [(0, 1), (1, 1)]
    return [plan.takeover for plan in again.plans], again


def test_hosts_that_were_stopped_say_so(stopped) -> None:
    assert len(stopped[0]) == 2
    for takeover in stopped[0]:
        assert not takeover.is_lost
        assert not takeover.live
        assert takeover.stopped


def test_no_request_is_unaccounted_for(stopped) -> None:
    assert stopped[1].results().totals.unaccounted == 0


def test_an_agent_that_goes_on_is_not_alive_twice(stopped) -> None:
    _, run = stopped
    steps = [step for batch in run.batches() for step in batch.agents]
    live: dict[str, int] = {}
    assert {batch.epoch for batch in run.batches() if batch.agents} == {0, 1}
    for step in sorted(steps, key=lambda step: (step.at_s, -step.change)):
        live[step.agent] = live.get(step.agent, 0) + step.change
        assert 0 <= live[step.agent] <= 1, step


def test_nobody_is_alive_between_the_stop_and_the_going_on(stopped) -> None:
    takeovers, run = stopped
    later = [step for batch in run.batches() if batch.epoch == 1 for step in batch.agents]
    assert min(step.at_s for step in later) >= takeovers[0].heard_until_s


def test_windows_never_hold_more_sessions_than_were_asked_for(stopped) -> None:
    _, run = stopped
    table = series(run.results().windows).to_pylist()
    whole = [row for row in table if row["host"] is None and row["endpoint"] is None]
    live = [row["live_orchestrators_mean"] for row in whole]
    assert live
    assert max(live) <= run.config.load.agents


def test_a_signal_that_leaves_no_time_ends_requests_in_flight(tmp_path) -> None:
    slow = {"cost": {**FLEET["cost"], "decode_base_s": 0.25}}
    config = experiment(fleet=slow, load__duration_s=60.0, load__sessions_max=None, load__drain_s=50.0)
    interrupts = Interrupts()

    def stop_with_requests_open(_, batch) -> None:
        if batch.gauges.open_requests > 2:
            interrupts.received = signal.SIGTERM

    run = driven(config, tmp_path, interrupts=interrupts, on_batch=stop_with_requests_open, stop_drain_s=0.0)
    results = run.results()
    assert run.end.at_s < 40.0, "the run ended by itself"
    assert "interrupted" in results.rows.column("outcome").to_pylist()
    assert results.totals.unaccounted == 0
