import pytest

from swarm.workload.due import DueClock
from swarm.workload.effects import Think


@pytest.mark.parametrize(
    ("think", "due_s"),
    [
        (Think(5.0), 25.0),
        (Think(5.0, since="completed"), 25.0),
        (Think(5.0, since="intended"), 20.0),
        (Think(15.0, since="intended"), 25.0),
    ],
)
def test_a_think_counts_from_what_it_says_but_never_ends_before_the_completion(
    think: Think, due_s: float
) -> None:
    clock = DueClock(10.0)
    clock.intend()
    clock.complete(20.0)
    clock.think(think)
    assert clock.due_s == due_s


def test_a_split_think_ends_where_the_whole_one_would() -> None:
    whole, split = DueClock(0.0), DueClock(0.0)
    for clock in (whole, split):
        clock.complete(7.0)
    whole.think(Think(10.0, since="completed"))
    split.think(Think(4.0, since="completed"))
    split.think(Think(10.0, since="completed"))
    assert split.due_s == whole.due_s == 17.0


def test_a_join_waits_for_the_latest_child() -> None:
    clock = DueClock(3.0)
    clock.join(9.0)
    clock.join(5.0)
    assert clock.due_s == 9.0
