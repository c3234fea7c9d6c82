"""Plans of a provider's customers: who has used one up is told when to come back.

A request is charged when it is sent: its input, what the rank it goes to holds of it at that moment by
`cached_weight`, and its output. A limit a minute is a bucket that holds a minute's worth and is refilled all
the time; a request that is larger than a bucket passes when it is full, and leaves it in debt. An allotment
counts what was charged within the last window. A refused request is charged nothing, and told the first time
at which it would pass if nobody else came.
"""

from __future__ import annotations

from collections import deque

from swarm.bucket import SLACK_TOKENS, minute_bucket
from swarm.config.provider import ProviderConfig

CUSTOMERS_SLACK = 1024
"""Customers beyond twice those with something to remember before the others are forgotten."""


class Allotment:
    """Tokens used within the last window, at most `capacity` of them."""

    __slots__ = ("capacity", "used", "uses", "window_s")

    def __init__(self, capacity: float, window_s: float) -> None:
        self.capacity = capacity
        self.window_s = window_s
        self.used = 0.0
        self.uses: deque[tuple[float, float]] = deque()

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Return the seconds until so many tokens pass; 0 if they do now."""
        self._leave_out(now_s)
        left = self.used + min(tokens, self.capacity) - self.capacity
        if left <= SLACK_TOKENS:
            return 0.0
        for at_s, used in self.uses:
            left -= used
            if left <= SLACK_TOKENS:
                return at_s + self.window_s - now_s
        raise AssertionError("an empty window lets everything pass")

    def take(self, tokens: float, now_s: float) -> None:
        """Note a use."""
        self.used += tokens
        self.uses.append((now_s, tokens))

    def is_idle(self, now_s: float) -> bool:
        """Return whether it is as if it had never been used."""
        self._leave_out(now_s)
        return not self.uses

    def _leave_out(self, now_s: float) -> None:
        while self.uses and self.uses[0][0] + self.window_s <= now_s:
            self.used -= self.uses.popleft()[1]
        if not self.uses:
            self.used = 0.0


class Plan:
    """What is left to one customer."""

    __slots__ = ("allotment", "inputs", "outputs")

    def __init__(self, config: ProviderConfig) -> None:
        self.inputs = minute_bucket(config.input_tokens_per_minute)
        self.outputs = minute_bucket(config.output_tokens_per_minute)
        self.allotment: Allotment | None = None
        if config.allotment_tokens is not None:
            self.allotment = Allotment(config.allotment_tokens, config.allotment_window_s)

    def ask(self, inputs: float, outputs: float, now_s: float) -> float:
        """Return 0 and charge a request that passes; else the seconds after which it would."""
        wait_s = 0.0
        if self.inputs is not None:
            wait_s = self.inputs.wait_s(inputs, now_s)
        if self.outputs is not None:
            wait_s = max(wait_s, self.outputs.wait_s(outputs, now_s))
        if self.allotment is not None:
            wait_s = max(wait_s, self.allotment.wait_s(inputs + outputs, now_s))
        if wait_s > 0.0:
            return wait_s
        if self.inputs is not None:
            self.inputs.take(inputs, now_s)
        if self.outputs is not None:
            self.outputs.take(outputs, now_s)
        if self.allotment is not None:
            self.allotment.take(inputs + outputs, now_s)
        return 0.0

    def is_idle(self, now_s: float) -> bool:
        """Return whether it is as if it had never been used."""
        parts = (self.inputs, self.outputs, self.allotment)
        return all(part.is_idle(now_s) for part in parts if part is not None)


class Plans:
    """The plans of all customers; those with nothing to remember are forgotten."""

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self._plans: dict[str, Plan] = {}
        self._plans_max = CUSTOMERS_SLACK

    def __len__(self) -> int:
        """Return how many plans are kept."""
        return len(self._plans)

    def ask(
        self, session: str, *, prompt_tokens: int, cached_tokens: int, output_tokens: int, now_s: float
    ) -> float:
        """Return 0 and charge a request that passes; else the seconds after which to ask again."""
        config = self._config
        customer = session if config.per == "session" else ""
        plan = self._plans.get(customer)
        if plan is None:
            self._forget(now_s)
            plan = self._plans[customer] = Plan(config)
        inputs = prompt_tokens - cached_tokens + config.cached_weight * cached_tokens
        return plan.ask(inputs, output_tokens, now_s)

    def _forget(self, now_s: float) -> None:
        if len(self._plans) < self._plans_max:
            return
        self._plans = {name: plan for name, plan in self._plans.items() if not plan.is_idle(now_s)}
        self._plans_max = 2 * len(self._plans) + CUSTOMERS_SLACK


def plans_of(config: ProviderConfig | None) -> Plans | None:
    """Return the plans that a configuration limits, or None where nothing is limited."""
    if config is None:
        return None
    limits = (config.input_tokens_per_minute, config.output_tokens_per_minute, config.allotment_tokens)
    return None if all(limit is None for limit in limits) else Plans(config)
