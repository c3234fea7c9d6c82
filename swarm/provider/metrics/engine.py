"""What one scheduler of the fleet has done."""

from __future__ import annotations

from swarm.fleet.events import CacheUse
from swarm.provider.metrics.histogram import (
    COUNT_BOUNDS,
    ITL_BOUNDS_S,
    REQUEST_BOUNDS_S,
    STEP_BOUNDS,
    TTFT_BOUNDS_S,
    Histogram,
    token_bounds,
)


class Engine:
    """The counters of one rank; a request counts where it came in, its decoding elsewhere included."""

    def __init__(self, context_tokens: float) -> None:
        lengths = token_bounds(context_tokens)
        self.finished = {"stop": 0, "length": 0, "abort": 0, "error": 0, "repetition": 0}
        """Requests by vLLM's reasons."""
        self.generation_tokens = 0
        self.prompt_tokens = 0
        self.by_tier = [0] * 5
        """Cached prompt tokens, in the order of the tiers."""
        self.lost_to = [0] * 8
        """Prompt tokens that no limit would have kept from being cached, by cause."""
        self.ttft_s = Histogram(TTFT_BOUNDS_S)
        self.itl_s = Histogram(ITL_BOUNDS_S)
        self.tpot_s = Histogram(ITL_BOUNDS_S)
        self.e2e_s = Histogram(REQUEST_BOUNDS_S)
        self.queue_s = Histogram(REQUEST_BOUNDS_S)
        self.prefill_s = Histogram(REQUEST_BOUNDS_S)
        self.decode_s = Histogram(REQUEST_BOUNDS_S)
        self.inference_s = Histogram(REQUEST_BOUNDS_S)
        self.request_prompt = Histogram(lengths)
        self.request_generation = Histogram(lengths)
        self.request_computed = Histogram(lengths)
        self.request_max = Histogram(lengths)
        self.most_generation = Histogram(lengths)
        self.request_n = Histogram(COUNT_BOUNDS)
        self.step_tokens = Histogram(STEP_BOUNDS)
        self._step_s = 0.0
        self._in_step = 0

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens found in any tier."""
        return sum(self.by_tier)

    def first(self, cache: CacheUse, at_s: float, after_s: float) -> None:
        """Count a first token, `after_s` after its request came, in its step the whole prompt."""
        self.ttft_s.add(after_s)
        self.prompt_tokens += cache.prompt_tokens
        for place, tokens in enumerate(cache.by_tier):
            self.by_tier[place] += tokens
        for place, tokens in enumerate(cache.lost_to):
            self.lost_to[place] += tokens
        self.request_prompt.add(cache.prompt_tokens)
        self.request_computed.add(cache.prompt_tokens - cache.cached_tokens)
        self.generation_tokens += 1
        self._count(at_s, 1 + cache.prompt_tokens - cache.cached_tokens)

    def gaps(self, at_s: float, gap_s: float, count: int) -> None:
        """Count tokens of as many replies that came `gap_s` after the one before each."""
        self.generation_tokens += count
        self.itl_s.add(gap_s, count)
        self._count(at_s, count)

    def asked(self, tokens: int, count: int) -> None:
        """Count a request's settings."""
        self.request_max.add(tokens)
        self.most_generation.add(tokens)
        self.request_n.add(count)

    def ended(self, *, tokens: int, came_s: float, admitted_s: float, first_s: float, ended_s: float) -> None:
        """Count a request that has all its tokens."""
        self.e2e_s.add(ended_s - came_s)
        self.queue_s.add(max(0.0, admitted_s - came_s))
        self.prefill_s.add(first_s - admitted_s)
        self.decode_s.add(ended_s - first_s)
        self.inference_s.add(ended_s - admitted_s)
        self.request_generation.add(tokens)
        if tokens > 1:
            self.tpot_s.add((ended_s - first_s) / (tokens - 1))

    def _count(self, at_s: float, tokens: int) -> None:
        """Count tokens of the step that ended at `at_s`."""
        if at_s != self._step_s:
            if self._in_step:
                self.step_tokens.add(self._in_step)
            self._step_s, self._in_step = at_s, 0
        self._in_step += tokens
