"""Where a node will not carry its hosts, this is said before they begin."""

import pytest

from swarm.live.driver.host_cost import HostCost
from swarm.live.driver.shares import Shares, shortfalls
from swarm.live.room import Room

GIB = 1 << 30


def room(node: str = "a", cores: float = 4.0, files: int = 65_536, free: int | None = 64 * GIB) -> Room:
    return Room(node, cores, files, free)


def told(cores: float, agents: float, rooms: list[Room], beside: float = 0.0) -> list[str]:
    shares = Shares(HostCost(cores, agents), len(rooms), needed=9, beside_cores={"a": beside})
    return shortfalls(shares, dict(enumerate(rooms)))


def test_nothing_is_said_of_nodes_that_carry_their_share() -> None:
    assert told(1.0, 10_000, [room("a"), room("b", free=None)]) == []


@pytest.mark.parametrize(
    ("cores", "agents", "rooms", "beside", "words"),
    [
        (3.0, 10, [room(), room(cores=8.0)], 0.0, ["each of 2 hosts", "1.5 cores", "hosts.count: 9"]),
        (1.2, 10, [room(cores=1.0), room(cores=1.0)], 0.0, ["node a: its 2 hosts", "1.2 cores", "of 1"]),
        (0.6, 10, [room(cores=1.0)], 0.7, ["node a: its 1 host ", "0.6 cores and 0.7 more", "of 1"]),
        (0.1, 3_000, [room(files=1_024)], 0.0, ["1,024 files", "3,256", "ulimit -n"]),
        (0.1, 100_000, [room(free=GIB)] * 2, 0.0, ["4.7 GiB for 100,000 agents", "of 1.0 GiB"]),
    ],
    ids=["an event loop", "cores", "cores beside the coordinator", "files", "memory"],
)
def test_a_shortfall_is_told_with_what_it_takes(
    cores: float, agents: float, rooms: list[Room], beside: float, words: list[str]
) -> None:
    (sentence,) = told(cores, agents, rooms, beside)
    assert all(each in sentence for each in words), sentence


def test_each_node_is_told_of_by_itself_and_the_first_few_by_name() -> None:
    found = told(0.1, 100_000, [room(f"n{k}", files=1_024) for k in range(8)])
    assert [words.split(":")[0] for words in found[:-1]] == [f"node n{k}" for k in range(5)]
    assert found[-1] == "and 3 more shortfalls of nodes"
