"""Which hosts count as silent, and how often one is replaced."""

import pytest

from swarm.live.driver.roster import REPLACEMENTS_MAX, START_S_MAX, Roster


def roster() -> Roster:
    made = Roster(silent_max_s=10.0, epoch=0)
    for host in (0, 1):
        made.start(host, 0.0)
    made.hear({0: (0, 0), 1: (0, 0)}, 1.0)
    return made


@pytest.mark.parametrize(("now_s", "silent"), [(11.0, ()), (11.1, (0, 1))])
def test_a_host_is_silent_when_nothing_new_came_for_too_long(now_s: float, silent: tuple[int, ...]) -> None:
    made = roster()
    made.hear({0: (0, 0), 1: (0, 0)}, 5.0)
    assert made.silent(now_s) == silent


def test_a_new_batch_ends_the_silence() -> None:
    made = roster()
    made.hear({0: (0, 1)}, 9.0)
    assert made.silent(12.0) == (1,)


def test_hosts_are_not_to_blame_for_a_deaf_coordinator() -> None:
    made = roster()
    made.excuse(50.0)
    assert made.silent(60.0) == ()


def test_a_host_that_starts_gets_the_time_to_import() -> None:
    made = roster()
    made.end(0)
    made.start(0, 20.0)
    assert made.epoch(0) == 1
    assert made.silent(20.0 + START_S_MAX) == (1,)


def test_what_an_earlier_epoch_said_does_not_count() -> None:
    made = roster()
    made.start(0, 2.0)
    made.hear({0: (1, 0)}, 3.0)
    made.hear({0: (0, 7)}, 12.0)
    assert 0 in made.silent(13.1)


def test_an_ended_host_is_never_silent() -> None:
    made = roster()
    made.end(0)
    made.end(1)
    assert (made.running, made.silent(1e9)) == ((), ())


def test_a_host_is_replaced_a_bounded_number_of_times() -> None:
    made = roster()
    for _ in range(REPLACEMENTS_MAX):
        assert made.may_replace(0)
        made.start(0, 0.0)
    assert not made.may_replace(0)
