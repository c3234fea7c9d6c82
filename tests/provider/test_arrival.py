"""A request is counted from when its bytes were there, and its tokens leave when they are due."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from types import SimpleNamespace

import pytest

from swarm.context.tree import root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Finished, FirstToken, FleetRequest, Refused
from swarm.provider.connection import LOOK_S, arrived_s
from swarm.provider.fleet_loop import FleetLoop
from swarm.provider.lead import LEAD_S_MAX, Lead
from swarm.provider.metrics.page import Meter

ENTRY_S = 0.2


class Heard:
    """Notes when the first token was there, by the fleet's own time."""

    finish_reason = "length"

    def __init__(self) -> None:
        self.first_s: float | None = None

    def first(self, event: FirstToken) -> None:
        self.first_s = event.at_s

    def tokens(self, total: int) -> None: ...

    def finished(self, event: Finished) -> None: ...

    def refused(self, event: Refused) -> None: ...

    def failed(self, reason: str) -> None: ...


def firsts_s(desk: SimpleNamespace, ages_s: Sequence[float]) -> list[float | None]:
    """Submit requests that came so long ago; return when first tokens are due, after the first arrival."""

    async def main() -> list[float | None]:
        config = desk.fleet(cost={"entry_s": ENTRY_S})
        fleet = build_fleet(config)
        loop = FleetLoop(fleet, Meter(fleet, config), None)
        await asyncio.sleep(max(ages_s) + 0.01)
        origin_s, now_s = loop._origin_s, monotonic()
        heard = [Heard() for _ in ages_s]
        for number, age_s in enumerate(ages_s):
            prompt = root(str(number)).extend(8)
            request = FleetRequest(number, "s", "a", prompt, 1, False)
            loop.submit(request, heard[number], came_s=now_s - age_s)
        await asyncio.sleep(ENTRY_S + 0.05)
        loop.close()
        came_s = now_s - ages_s[0] - origin_s
        return [None if each.first_s is None else each.first_s - came_s for each in heard]

    found: list[float | None] = asyncio.run(main())
    return found


def test_what_reading_a_request_took_is_part_of_its_entry(desk: SimpleNamespace) -> None:
    assert firsts_s(desk, [0.15]) == [pytest.approx(ENTRY_S, abs=1e-4)]


def test_one_that_came_before_what_was_told_comes_then(desk: SimpleNamespace) -> None:
    later, earlier = firsts_s(desk, [0.05, 0.15])
    assert later == pytest.approx(ENTRY_S, abs=1e-4)
    assert earlier == pytest.approx(ENTRY_S, abs=1e-3)


def test_who_waits_for_a_first_token_is_counted_until_it_is_there_or_never_comes(
    desk: SimpleNamespace,
) -> None:
    async def main() -> list[int]:
        config = desk.fleet(cost={"entry_s": 0.01, "decode_base_s": 0.02})
        fleet = build_fleet(config)
        loop = FleetLoop(fleet, Meter(fleet, config), None)
        for number in range(3):
            request = FleetRequest(number, "s", "a", root(str(number)).extend(8), 50_000, False)
            loop.submit(request, Heard(), came_s=monotonic())
        found = [loop._unbegun_count]
        loop.cancel(0)
        found.append(loop._unbegun_count)
        while loop._unbegun_count:
            await asyncio.sleep(0.005)
        loop.cancel(1)
        loop.cancel(2)
        found += [loop._unbegun_count, loop.open_count]
        loop.close()
        return found

    assert asyncio.run(main()) == [3, 2, 0, 0]


@pytest.mark.parametrize(
    ("looked_s", "arrived"),
    [(10.0, 10.0), (9.9985, 9.9995), (9.9995, 10.0), (9.5, 10.0), (2e6, 10.0)],
)
def test_bytes_were_there_when_the_loop_saw_them(looked_s: float, arrived: float) -> None:
    """One that looked half a second ago, or far ahead, has a clock of its own."""
    assert LOOK_S == 0.001
    assert arrived_s(10.0, looked_s) == pytest.approx(arrived)


def test_the_lead_is_what_the_quickest_of_late_took() -> None:
    lead = Lead()
    assert lead.seconds == 0.0
    for took_s in (0.0003, 0.0001, 0.0002):
        lead.learn(took_s)
    assert lead.seconds == 0.0001
    for _ in range(64):
        lead.learn(0.02)
    assert lead.seconds == LEAD_S_MAX
    lead.learn(-0.001)
    assert lead.seconds == 0.0
