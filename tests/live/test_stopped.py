"""A run is stopped, as by Ctrl-C, and gone on with: nothing of it was lost, and nothing counts twice."""

import pytest
from swarms import Local, aimed, experiment, provider

from swarm.measure.series import series


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two hosts that was stopped in its ramp and gone on with: the pasts, and the run."""
    config = experiment(load__ramp_s=4.0, load__sessions_max=None, load__duration_s=6.0, load__drain_s=0.5)
    with provider(config) as port:
        local = Local(aimed(config, port), tmp_path_factory.mktemp("run"), hosts=2)
        for number in range(2):
            local.start(number)
        local.wait_for_rows(40)
        local.stop()
        pasts = [local.past(number, of_all=True) for number in range(2)]
        for number, past in enumerate(pasts):
            local.start(number, epoch=1, past=past)
        local.wait()
        return pasts, local


def test_hosts_that_were_stopped_say_so(stopped) -> None:
    for past in stopped[0]:
        assert not past.is_lost
        assert not past.live
        assert past.stopped


def test_no_request_is_unaccounted_for(stopped) -> None:
    assert stopped[1].settled().totals.unaccounted == 0


def test_an_agent_that_goes_on_is_not_alive_twice(stopped) -> None:
    _, local = stopped
    steps = [step for batch in local.batches() for step in batch.agents]
    live: dict[str, int] = {}
    for step in sorted(steps, key=lambda step: (step.at_s, -step.change)):
        live[step.agent] = live.get(step.agent, 0) + step.change
        assert 0 <= live[step.agent] <= 1, step


def test_nobody_is_alive_between_the_stop_and_the_going_on(stopped) -> None:
    pasts, local = stopped
    later = [step for batch in local.batches() if batch.epoch == 1 for step in batch.agents]
    assert min(step.at_s for step in later) >= pasts[0].heard_until_s


def test_windows_never_hold_more_sessions_than_were_asked_for(stopped) -> None:
    _, local = stopped
    table = series(local.settled().windows).to_pylist()
    whole = [row for row in table if row["host"] is None and row["endpoint"] is None]
    live = [row["live_orchestrators_mean"] for row in whole]
    assert live
    assert max(live) <= local.config.load.agents
