"""A fault inside the fleet ends every request with an error, and the server says that it is ill."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.errors import AuditError
from swarm.fleet.fleet import Fleet


class BrokenFleet:
    """A fleet that cannot go on; of a compiled one no method can be replaced."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __getattr__(self, name: str) -> object:
        return getattr(self._fleet, name)

    def advance(self, now_s: float, tokens: bool = False) -> None:
        raise AuditError("the sums do not agree")


def test_a_fault_in_the_fleet_leaves_nobody_waiting(
    desk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = desk.fleet(cost={"decode_base_s": 0.02})

    async def live() -> tuple[str, Any, int, int]:
        async with desk.serving(slow) as served:
            ask = {"prompt": "some words", "max_tokens": 500}

            async def stream() -> str:
                body = {**ask, "stream": True}
                async with served.client.stream("POST", "/v1/completions", json=body) as response:
                    return "".join([text async for text in response.aiter_text()])

            streaming = asyncio.ensure_future(stream())
            waiting = asyncio.ensure_future(served.client.post("/v1/completions", json=ask))
            while served.provider._driver.open_count < 2:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)

            monkeypatch.setattr(served.provider._driver, "_fleet", BrokenFleet(served.provider._fleet))
            streamed, whole = await asyncio.wait_for(asyncio.gather(streaming, waiting), 10)
            later = await served.client.post("/v1/completions", json=ask)
            health = await served.client.get("/health")
            return streamed, whole, later.status_code, health.status_code

    streamed, whole, later, health = desk.run(live)
    assert '"code":"fleet_broken"' in streamed.splitlines()[-2]
    assert whole.status_code == later == 500
    assert "the sums do not agree" in whole.json()["error"]["message"]
    assert health == 503
