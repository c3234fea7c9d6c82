"""The gate that live requests pass before they are sent: `load.admission` on asyncio."""

from __future__ import annotations

import asyncio
import math

from swarm.live.clock import RunClock
from swarm.load.admission import AdmissionControl

RETRY_S_LEAST = 0.001


class Gate:
    """Lets requests wait for their turn; one timer for all of them."""

    def __init__(self, admission: AdmissionControl, clock: RunClock) -> None:
        self._admission = admission
        self._clock = clock
        self._count = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._waited_s: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ask(
        self, agent: str, input_tokens: int, output_tokens: int
    ) -> tuple[int, asyncio.Future[None] | None]:
        """Return the request's number, and what is done when it may go; None if it may go at once."""
        self._count += 1
        number = self._count
        self._admission.ask(number, agent, input_tokens, output_tokens, self._clock.now_s())
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._admit()
        return number, None if future.done() else future

    def waited_s(self, number: int) -> float:
        """Return how long a request that may go has waited."""
        return self._waited_s.pop(number)

    def leave(self, number: int) -> None:
        """Take a request that waits away."""
        self._waiting.pop(number, None)
        if self._waited_s.pop(number, None) is None:
            self._admission.leave(number)
        else:
            # It had been let through, and nobody will send it.
            self.ended(number, ok=True)
        self._admit()

    def first_token(self, number: int) -> None:
        """Note that a request's prefill is over."""
        self._admission.first_token(number)
        self._admit()

    def ended(self, number: int, *, ok: bool) -> None:
        """Note that a request ended."""
        self._admission.ended(number, self._clock.now_s(), ok=ok)
        self._admit()

    def _admit(self) -> None:
        if not self._waiting:
            return
        now_s = self._clock.now_s()
        for number, waited_s in self._admission.admitted(now_s):
            self._waited_s[number] = waited_s
            future = self._waiting.pop(number)
            if not future.done():
                future.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_s = self._admission.next_s(now_s)
        if self._waiting and next_s < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(RETRY_S_LEAST, next_s - now_s), self._admit)
