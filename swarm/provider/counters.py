"""What the server counts, as Prometheus text under vLLM's names."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from swarm.fleet.events import CacheUse
from swarm.fleet.fleet import Fleet

# The bounds of vLLM's own histograms, so that its dashboards fit.
TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
ITL_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0),
    *(40.0, 80.0),
)
E2E_BOUNDS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0),
    *(480.0, 960.0, 1920.0, 7680.0),
)


class Histogram:
    """Counts by upper bound, as Prometheus has them."""

    __slots__ = ("_bounds", "_counts", "_last", "_place", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._last = -1.0
        self._place = 0

    def add(self, value: float) -> None:
        """Count a value."""
        if value != self._last:
            self._last = value
            self._place = bisect_left(self._bounds, value)
        self._counts[self._place] += 1
        self._sum += value

    def lines(self, name: str, about: str, label: str) -> list[str]:
        """Return the exposition."""
        sums = list(accumulate(self._counts))
        bounds = [*map(str, self._bounds), "+Inf"]
        return [
            f"# HELP {name} {about}",
            f"# TYPE {name} histogram",
            *(
                f'{name}_bucket{{{label},le="{bound}"}} {count}'
                for bound, count in zip(bounds, sums, strict=True)
            ),
            f"{name}_count{{{label}}} {sums[-1]}",
            f"{name}_sum{{{label}}} {self._sum:.9g}",
        ]


class Meter:
    """The server's counters."""

    def __init__(self) -> None:
        self.ttft_s = Histogram(TTFT_BOUNDS_S)
        self.itl_s = Histogram(ITL_BOUNDS_S)
        self.e2e_s = Histogram(E2E_BOUNDS_S)
        self.generation_tokens = 0
        self.finished = {"length": 0, "stop": 0, "abort": 0, "error": 0}
        """Requests by vLLM's reasons; the error is a refusal."""
        self._prompt_tokens = 0
        self._hit_tokens = 0
        self._lower_hit_tokens = 0

    def first(self, cache: CacheUse, after_s: float) -> None:
        """Count a first token, `after_s` after its request came."""
        self.ttft_s.add(after_s)
        self._prompt_tokens += cache.prompt_tokens
        self._hit_tokens += cache.by_tier[0]
        self._lower_hit_tokens += cache.cached_tokens - cache.by_tier[0]
        self.generation_tokens += 1

    def gap(self, gap_s: float) -> None:
        """Count a token that came `gap_s` after the one before it."""
        self.generation_tokens += 1
        self.itl_s.add(gap_s)

    def text(self, fleet: Fleet, model: str) -> bytes:
        """Return everything as Prometheus text."""
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        label = f'engine="0",model_name="{escaped}"'
        counters = (
            ("prefix_cache_queries", "Prompt tokens looked up in HBM.", self._prompt_tokens),
            ("prefix_cache_hits", "Prompt tokens found in HBM.", self._hit_tokens),
            (
                "external_prefix_cache_queries",
                "Prompt tokens looked up in lower tiers.",
                self._prompt_tokens - self._hit_tokens,
            ),
            ("external_prefix_cache_hits", "Prompt tokens found in lower tiers.", self._lower_hit_tokens),
            ("prompt_tokens", "Prompt tokens processed, cached ones included.", self._prompt_tokens),
            ("generation_tokens", "Tokens generated.", self.generation_tokens),
            ("num_preemptions", "Requests preempted.", sum(rank.preemptions for rank in fleet.ranks)),
        )
        lines: list[str] = []
        for name, about, value in counters:
            lines += [f"# HELP vllm:{name}_total {about}", f"# TYPE vllm:{name}_total counter"]
            lines.append(f"vllm:{name}_total{{{label}}} {value}")
        lines += [
            "# HELP vllm:request_success_total Requests ended.",
            "# TYPE vllm:request_success_total counter",
        ]
        lines += [
            f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {count}'
            for reason, count in self.finished.items()
        ]
        lines += self._gauges(fleet, escaped)
        lines += self.ttft_s.lines("vllm:time_to_first_token_seconds", "Time to the first token.", label)
        lines += self.itl_s.lines("vllm:inter_token_latency_seconds", "Time between tokens.", label)
        lines += self.e2e_s.lines("vllm:e2e_request_latency_seconds", "Time to the last token.", label)
        return ("\n".join(lines) + "\n").encode()

    def _gauges(self, fleet: Fleet, model: str) -> list[str]:
        """Return the state of each scheduler."""
        running, waiting, usage = [], [], []
        for engine, rank in enumerate(fleet.ranks):
            label = f'engine="{engine}",model_name="{model}"'
            hbm = rank.hierarchy.tiers[0]
            blocks = hbm.spec.capacity_blocks
            used = 0.0 if blocks is None else max(0, hbm.runs.pinned + hbm.reserved) / blocks
            running.append(f"vllm:num_requests_running{{{label}}} {rank.running}")
            waiting.append(f"vllm:num_requests_waiting{{{label}}} {len(rank.waiting)}")
            usage.append(f"vllm:kv_cache_usage_perc{{{label}}} {used:.6f}")
        return [
            *(
                "# HELP vllm:num_requests_running Requests in the batch.",
                "# TYPE vllm:num_requests_running gauge",
            ),
            *running,
            *("# HELP vllm:num_requests_waiting Requests queued.", "# TYPE vllm:num_requests_waiting gauge"),
            *waiting,
            "# HELP vllm:kv_cache_usage_perc KV blocks that requests are using, 1 is all of them.",
            "# TYPE vllm:kv_cache_usage_perc gauge",
            *usage,
        ]
