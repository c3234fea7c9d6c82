import pytest

from swarm.config.load import LoadConfig
from swarm.load.assignment import slots_of
from swarm.load.pacing import pacing_of


@pytest.mark.parametrize(
    ("load", "count", "indices"),
    [
        (LoadConfig(agents=2), None, [[0, 2, 4], [1, 3, 5]]),
        (LoadConfig(agents=2, replace=False), None, [[0, None, None], [1, None, None]]),
        (LoadConfig(agents=2, sessions_max=3), None, [[0, 2, None], [1, None, None]]),
        (LoadConfig(agents=5), 2, [[0, None, None], [1, None, None]]),
    ],
)
def test_slots_play_every_session_once(
    load: LoadConfig, count: int | None, indices: list[list[int | None]]
) -> None:
    pacing = pacing_of(load, count, 1)
    played = [[pacing.session_index(slot, g) for g in range(3)] for slot in range(pacing.slots)]
    assert played == indices


def test_slots_start_evenly_over_the_ramp() -> None:
    pacing = pacing_of(LoadConfig(agents=4, ramp_s=8.0), None, 1)
    assert [pacing.spans(slot)[0].start_s for slot in range(4)] == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("hosts", [1, 2, 3, 7])
def test_hosts_share_every_slot_once(hosts: int, in_turn: bool) -> None:
    shares = [slot for host in range(hosts) for slot in slots_of(host, hosts, 20, in_turn=in_turn)]
    assert sorted(shares) == list(range(20))
