"""Where the actors of a run go: over all nodes, by their CPUs."""

from collections import Counter

import pytest

from swarm.cluster.spread import Place, Spread


@pytest.mark.parametrize(
    ("cpus", "hosts", "placed"),
    [
        ({"a": 4, "b": 4, "c": 4}, 3, {"a": 1, "b": 1, "c": 1}),
        ({"a": 4, "b": 4, "c": 4}, 7, {"a": 3, "b": 2, "c": 2}),
        ({"a": 2, "b": 6}, 8, {"a": 2, "b": 6}),
        ({"head": 0, "b": 1}, 3, {"b": 3}),
        ({"head": 0}, 2, {"head": 2}),
    ],
)
def test_nodes_take_hosts_by_their_cpus(cpus: dict[str, int], hosts: int, placed: dict[str, int]) -> None:
    spread, places = Spread(), [Place(*each) for each in cpus.items()]
    assert Counter(spread.pick(places) for _ in range(hosts)) == placed


def test_a_node_that_lost_a_host_is_the_last_to_get_another() -> None:
    spread, places = Spread(), [Place("a", 1), Place("b", 1)]
    assert [spread.pick(places) for _ in range(2)] == ["a", "b"]
    spread.lose("a")
    assert [spread.pick(places) for _ in range(3)] == ["b", "b", "b"]
    assert spread.pick([Place("a", 1)]) == "a"


def test_a_node_that_joins_takes_what_comes_then() -> None:
    spread = Spread()
    for _ in range(4):
        spread.pick([Place("a", 4)])
    assert [spread.pick([Place("a", 4), Place("b", 4)]) for _ in range(4)] == ["b"] * 4
