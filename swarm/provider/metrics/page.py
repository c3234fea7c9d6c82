"""The page of all counters, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from time import process_time

from swarm.config.fleet import FleetConfig
from swarm.cpu_wait import cpu_wait_s
from swarm.fleet.fleet import Fleet
from swarm.fleet.rank import Rank
from swarm.hit_names import LOST_TO, TIERS, TierName
from swarm.provider.metrics.engine import Engine
from swarm.provider.metrics.histogram import LATENESS_BOUNDS_S, Histogram

RECENT = 2_000
"""Moments of sending by which the server says whether it is late."""
PATH_BYTES_MAX, PARTS_MAX = 64, 3
"""Of a path, what is told apart; what follows is a name."""
HIT_SOURCES: dict[str, tuple[TierName, ...]] = {
    "device": ("hbm",),
    "host": ("dram",),
    "p2p": (),
    "disk": ("nvme", "posix"),
    "external_unspecified": ("pooled_dram",),
}
"""vLLM's names of where hits come from, and the tiers that they are."""
Sample = tuple[str, float]
"""More labels, and a value."""

COUNTERS: tuple[tuple[str, str, Callable[[Engine, Rank], float]], ...] = (
    ("prefix_cache_queries", "Prompt tokens looked up in HBM.", lambda engine, rank: engine.prompt_tokens),
    ("prefix_cache_hits", "Prompt tokens found in HBM.", lambda engine, rank: engine.by_tier[0]),
    (
        "external_prefix_cache_queries",
        "Prompt tokens looked up in lower tiers.",
        lambda engine, rank: engine.prompt_tokens - engine.by_tier[0],
    ),
    (
        "external_prefix_cache_hits",
        "Prompt tokens found in lower tiers.",
        lambda engine, rank: engine.cached_tokens - engine.by_tier[0],
    ),
    (
        "prompt_tokens",
        "Prompt tokens processed, cached ones included.",
        lambda engine, rank: engine.prompt_tokens,
    ),
    ("prompt_tokens_cached", "Prompt tokens found in any tier.", lambda engine, rank: engine.cached_tokens),
    ("generation_tokens", "Tokens generated.", lambda engine, rank: engine.generation_tokens),
    ("num_preemptions", "Requests preempted.", lambda engine, rank: rank.preemptions),
)
HISTOGRAMS: tuple[tuple[str, str, Callable[[Engine], Histogram]], ...] = (
    ("time_to_first_token_seconds", "Time to the first token.", lambda engine: engine.ttft_s),
    ("inter_token_latency_seconds", "Time between tokens.", lambda engine: engine.itl_s),
    (
        "request_time_per_output_token_seconds",
        "Mean time between a request's tokens.",
        lambda engine: engine.tpot_s,
    ),
    ("e2e_request_latency_seconds", "Time to the last token.", lambda engine: engine.e2e_s),
    ("request_queue_time_seconds", "Time until admitted.", lambda engine: engine.queue_s),
    (
        "request_prefill_time_seconds",
        "Time from admission to the first token.",
        lambda engine: engine.prefill_s,
    ),
    ("request_decode_time_seconds", "Time from the first token to the last.", lambda engine: engine.decode_s),
    (
        "request_inference_time_seconds",
        "Time from admission to the last token.",
        lambda engine: engine.inference_s,
    ),
    ("request_prompt_tokens", "Prompt tokens of a request.", lambda engine: engine.request_prompt),
    (
        "request_generation_tokens",
        "Tokens generated for a request.",
        lambda engine: engine.request_generation,
    ),
    (
        "request_prefill_kv_computed_tokens",
        "Prompt tokens of a request that were in no cache.",
        lambda engine: engine.request_computed,
    ),
    ("request_params_max_tokens", "The most tokens of a reply.", lambda engine: engine.request_max),
    (
        "request_max_num_generation_tokens",
        "The most tokens generated for one reply of a request.",
        lambda engine: engine.most_generation,
    ),
    ("request_params_n", "Replies to each prompt.", lambda engine: engine.request_n),
    (
        "iteration_tokens_total",
        "Tokens of a step; a prompt counts in its last one.",
        lambda engine: engine.step_tokens,
    ),
)


class Meter:
    """The server's counters."""

    def __init__(self, fleet: Fleet, config: FleetConfig) -> None:
        self._fleet = fleet
        self._config = config
        self.engines = [Engine(fleet.context_tokens) for _ in fleet.ranks]
        self.refused: Counter[str] = Counter()
        """Requests that the fleet did not take, by the status that they were answered with."""
        self.answers: Counter[tuple[str, str, str]] = Counter()
        """By path, method and class of status."""
        self._lateness_s = Histogram(LATENESS_BOUNDS_S)
        self._recent_s: deque[float] = deque(maxlen=RECENT)

    def answered(self, path: bytes, method: bytes, status: int) -> None:
        """Count an answer; of paths that are not known all are one."""
        known = path if status != 404 and len(path) <= PATH_BYTES_MAX else b"none"
        name = b"/" + b"/".join(known.strip(b"/").split(b"/")[:PARTS_MAX])
        self.answers[(name.decode(errors="replace"), method.decode(), f"{status // 100}xx")] += 1

    def late(self, seconds: float) -> None:
        """Count how long after its time the oldest of some events was sent."""
        self._lateness_s.add(seconds)
        self._recent_s.append(seconds)

    @property
    def lateness_s(self) -> float:
        """The 99th percentile of how late events have been sent lately."""
        recent = sorted(self._recent_s)
        return recent[int(0.99 * (len(recent) - 1))] if recent else 0.0

    def text(self) -> bytes:
        """Return everything as Prometheus text."""
        lines: list[str] = []
        labels = [
            f'engine="{place}",model_name="{_escaped(self._config.name)}"'
            for place in range(len(self.engines))
        ]
        pairs = list(zip(self.engines, self._fleet.ranks, labels, strict=True))
        for name, about, count in COUNTERS:
            samples = [(label, count(engine, rank)) for engine, rank, label in pairs]
            lines += _family(f"vllm:{name}_total", "counter", about, samples)
        for name, about, found in HISTOGRAMS:
            lines += _head(f"vllm:{name}", "histogram", about)
            for engine, _, label in pairs:
                lines += found(engine).lines(f"vllm:{name}", label)
        lines += self._splits(pairs)
        lines += self._gauges(pairs)
        lines += self._own(pairs)
        return ("\n".join(lines) + "\n").encode()

    def _splits(self, pairs: list[tuple[Engine, Rank, str]]) -> list[str]:
        """Return counters that have a label more."""
        ended, source, hits = list[Sample](), list[Sample](), list[Sample]()
        tiers, losses = list[Sample](), list[Sample]()
        for engine, _, label in pairs:
            ended += [
                (f'{label},finished_reason="{reason}"', count) for reason, count in engine.finished.items()
            ]
            lower = engine.cached_tokens - engine.by_tier[0]
            computed = engine.prompt_tokens - engine.cached_tokens
            for name, count in (
                ("local_compute", computed),
                ("local_cache_hit", engine.by_tier[0]),
                ("external_kv_transfer", lower),
            ):
                source.append((f'{label},source="{name}"', count))
            found = dict(zip(TIERS, engine.by_tier, strict=True))
            hits += [
                (f'{label},source="{name}"', sum(found[tier] for tier in among))
                for name, among in HIT_SOURCES.items()
            ]
            tiers += [
                (f'{label},tier="{name}"', count) for name, count in zip(TIERS, engine.by_tier, strict=True)
            ]
            losses += [
                (f'{label},cause="{name}"', count)
                for name, count in zip(LOST_TO, engine.lost_to, strict=True)
            ]
        return [
            *_family("vllm:request_success_total", "counter", "Requests ended.", ended),
            *_family("vllm:prompt_tokens_by_source_total", "counter", "Prompt tokens by source.", source),
            *_family(
                "vllm:prompt_tokens_cached_by_source_total",
                "counter",
                "Prompt tokens found, by kind of memory.",
                hits,
            ),
            *_family("swarm:cached_tokens_by_tier_total", "counter", "Prompt tokens found, by tier.", tiers),
            *_family(
                "swarm:lost_tokens_by_cause_total",
                "counter",
                "Prompt tokens that should have been found.",
                losses,
            ),
        ]

    def _gauges(self, pairs: list[tuple[Engine, Rank, str]]) -> list[str]:
        """Return the state of each scheduler."""
        running, waiting, reasons, usage, info = [], [], list[Sample](), [], list[Sample]()
        awake = list[Sample]()
        for _, rank, label in pairs:
            hbm = rank.hierarchy.tiers[0]
            blocks = hbm.spec.capacity_blocks
            used = 0.0 if blocks is None else max(0, hbm.runs.pinned + hbm.reserved) / blocks
            queued = len(rank.waiting) + rank.entering
            running.append((label, rank.running))
            waiting.append((label, queued))
            reasons += [(f'{label},reason="capacity"', queued), (f'{label},reason="deferred"', 0)]
            usage.append((label, round(used, 6)))
            awake += [
                (f'{label},sleep_state="{state}"', int(state == "awake"))
                for state in ("awake", "weights_offloaded", "discard_all")
            ]
            size = self._config.block_tokens
            more = (
                f'{label},block_size="{size}",num_gpu_blocks="{blocks}",num_cpu_blocks="0",'
                'enable_prefix_caching="True",cache_dtype="auto",gpu_memory_utilization="0.9"'
            )
            info.append((more, 1))
        adapters = self._config.serving.adapters
        lora = f'max_lora="{len(adapters)}",running_lora_adapters="{_escaped(",".join(adapters))}"'
        return [
            *_family("vllm:num_requests_running", "gauge", "Requests in the batch.", running),
            *_family("vllm:num_requests_waiting", "gauge", "Requests queued.", waiting),
            *_family("vllm:num_requests_waiting_by_reason", "gauge", "Requests queued, by reason.", reasons),
            *_family(
                "vllm:kv_cache_usage_perc", "gauge", "KV blocks that requests are using, 1 is all.", usage
            ),
            *_family("vllm:engine_sleep_state", "gauge", "Engines never sleep.", awake),
            *_family("vllm:cache_config_info", "gauge", "Settings of the KV cache.", info),
            *_family(
                "vllm:lora_requests_info", "gauge", "Adapters.", [(f'{lora},waiting_lora_adapters=""', 1)]
            ),
        ]

    def _own(self, pairs: list[tuple[Engine, Rank, str]]) -> list[str]:
        """Return what is the emulator's own."""
        first = pairs[0][2]
        refused = [(f'code="{code}"', self.refused[code]) for code in ("429", "400")]
        answers = [
            (f'handler="{_escaped(path)}",method="{method}",status="{status}"', count)
            for (path, method, status), count in sorted(self.answers.items())
        ]
        late = "swarm:event_lateness_seconds"
        return [
            *self._busy(),
            *_family(
                "swarm:requests_refused_total", "counter", "Requests that the fleet did not take.", refused
            ),
            *_family("http_requests_total", "counter", "Answers.", answers),
            *_head(late, "histogram", "From when events were due to when they were sent."),
            *self._lateness_s.lines(late, first),
        ]

    def _busy(self) -> list[str]:
        """Return how long this process and the fleet's parts have worked: what was full shows here."""
        busy, waited_s = self._fleet.busy(), cpu_wait_s()
        pipes = [(f'pipe="{_escaped(name)}"', seconds) for name, seconds in busy.pipes_s.items()]
        return [
            *_plain("process_cpu_seconds_total", "counter", "CPU time of this process.", process_time()),
            *_plain(
                "swarm:cpu_wait_seconds_total",
                "counter",
                "Time that the server was ready to run and had no core.",
                0.0 if waited_s is None else waited_s,
            ),
            *_plain(
                "swarm:prefill_busy_seconds_total",
                "counter",
                "Time of steps that compute prompts, over all schedulers that requests come to.",
                busy.prefill_s,
            ),
            *_plain(
                "swarm:prefill_schedulers", "gauge", "Schedulers that requests come to.", busy.prefill_ranks
            ),
            *_family(
                "swarm:pipe_busy_seconds_total",
                "counter",
                "Time that what was read, written or sent takes at a pipe's whole bandwidth.",
                pipes,
            ),
        ]


def _plain(name: str, kind: str, about: str, value: float) -> list[str]:
    return [*_head(name, kind, about), f"{name} {value}"]


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> list[str]:
    return [*_head(name, kind, about), *(f"{name}{{{label}}} {value}" for label, value in samples)]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
