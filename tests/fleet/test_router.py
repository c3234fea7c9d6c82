"""What a pick costs is priced: by what a load takes, held against trying every replica."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import fmean

import pytest

from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, SimpleCostConfig, TierConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest
from swarm.fleet.fleet import Fleet
from swarm.fleet.rank import Rank
from swarm.fleet.routing.router import PrefixAware, Router
from swarm.hit_names import LOST_TO
from swarm.units import GIB
from tests.fleet.driven import Op, drive

KV_BYTES = 1024.0
REPLICAS = 3


def gib(tokens: float) -> float:
    return tokens * KV_BYTES / GIB


def fleet_of(router: str, read_tokens_per_s: float | None, **changes: object) -> FleetConfig:
    """Return three replicas that compute 1,000 tokens a second, over a shared tier or none."""
    tiers = [TierConfig(name="hbm")]
    if read_tokens_per_s is not None:
        tiers.append(TierConfig(name="nvme", scope="cluster", read_gib_per_s=gib(read_tokens_per_s)))
    cost = SimpleCostConfig(
        prefill_tokens_per_s=1000.0,
        decode_base_s=0.01,
        decode_per_sequence_s=0.002,
        kv_bytes_per_token=KV_BYTES,
        kv_capacity_tokens=100_000,
    )
    settings = {
        "block_tokens": 1,
        "router": router,
        **({"router_reply_tokens": 20} if router == "prefix_aware" else {}),
        "cost": cost,
        "replicas": (ReplicaGroupConfig(count=REPLICAS, max_batched_tokens=4096),),
        "tiers": tuple(tiers),
    }
    return FleetConfig.model_validate(settings | changes)


def turns(sessions: int, each: int) -> list[Op]:
    """Return the turns of sessions whose contexts grow by a quarter each."""
    chance, ops = Random(3), []
    for session in range(sessions):
        prompt, at_s, name = root(f"x{session}").extend(1600), chance.uniform(0, 8), f"s{session}"
        for _ in range(each):
            ops.append((at_s, name, prompt))
            prompt = prompt.extend(400)
            at_s += 4 + chance.expovariate(1 / 3)
    ops.sort(key=lambda op: op[0])
    return [
        Op(at_s, FleetRequest(number, name, name, prompt, 20, False), 0)
        for number, (at_s, name, prompt) in enumerate(ops)
    ]


def seconds(events: Sequence[Event], ops: Sequence[Op]) -> list[float]:
    """Return how long each request took, from its submit to its last token."""
    ended = {event.request_id: event.at_s for event in events if isinstance(event, Finished)}
    return [ended[number] - op.at_s for number, op in enumerate(ops)]


class Told:
    """A router that sends each request to the replica named for it."""

    def __init__(self, picks: list[int]) -> None:
        self.picks = iter(picks)

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        return ranks[next(self.picks)]


class Plain:
    """The first of the least estimates, every one of them asked for; held against what a router picks."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.places: set[int] = set()

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        best = min(ranks, key=lambda rank: rank.estimate_s(prompt, sender, now_s))
        assert all(rank.least_s(prompt, now_s) <= rank.estimate_s(prompt, sender, now_s) for rank in ranks)
        assert self.router.pick(ranks, session, prompt, sender, now_s) is best
        self.places.add(best.place)
        return best


def run_told(config: FleetConfig, ops: Sequence[Op], picks: list[int]) -> list[Event]:
    return run_with(Told(picks), config, ops)


def run_with(router: Router, config: FleetConfig, ops: Sequence[Op]) -> list[Event]:
    fleet = build_fleet(config)
    fleet._router = router
    events: list[Event] = []
    for op in ops:
        assert op.request is not None
        events += fleet.advance(op.at_s)
        fleet.submit(op.request, op.at_s)
    while (due_s := fleet.next_event_s()) is not None:
        events += fleet.advance(due_s)
    return events


def oracle(config: FleetConfig, ops: Sequence[Op]) -> list[float]:
    """Send each request to where it would end first if nothing came after it: every replica is tried."""
    picks: list[int] = []
    for number in range(len(ops)):
        trials = [
            (seconds(run_told(config, ops[: number + 1], [*picks, place]), ops[: number + 1])[-1], place)
            for place in range(REPLICAS)
        ]
        picks.append(min(trials)[1])
    return seconds(run_told(config, ops, picks), ops)


@pytest.mark.parametrize("read_tokens_per_s", [None, 1500.0, 8000.0])
def test_routing_by_prefix_is_close_to_trying_every_replica(read_tokens_per_s: float | None) -> None:
    ops = turns(sessions=7, each=5)
    mean_s = {
        router: fmean(seconds(drive(fleet_of(router, read_tokens_per_s), ops, False, [])[1], ops))
        for router in ("prefix_aware", "session_affine")
    }
    best_s = fmean(oracle(fleet_of("prefix_aware", read_tokens_per_s), ops))
    assert mean_s["prefix_aware"] < 1.1 * best_s
    assert mean_s["prefix_aware"] < mean_s["session_affine"]


@pytest.mark.parametrize("read_tokens_per_s", [None, 1500.0, 8000.0])
def test_who_cannot_be_first_need_not_be_asked(read_tokens_per_s: float | None) -> None:
    plain = Plain(PrefixAware())
    run_with(plain, fleet_of("prefix_aware", read_tokens_per_s), turns(12, 6))
    assert plain.places == set(range(REPLICAS))


def test_a_tier_that_nobody_needs_changes_no_wait() -> None:
    ops = turns(sessions=7, each=5)
    without, with_tier = (
        fmean(seconds(drive(fleet_of("prefix_aware", rate), ops, False, [])[1], ops))
        for rate in (None, 1500.0)
    )
    assert with_tier < 1.05 * without


def picked(fleet: Fleet, prompt: Prompt, at_s: float) -> int:
    fleet.submit(FleetRequest(99, "late", "late", prompt, 2, False), at_s)
    while True:
        due_s = fleet.next_event_s()
        assert due_s is not None
        for event in fleet.advance(due_s):
            if isinstance(event, FirstToken) and event.request_id == 99:
                return event.replica


@pytest.mark.parametrize(
    ("busy_tokens", "replica"), [(400, 0), (1600, 0), (2400, 1)], ids=["idle", "load is dearer", "queue is"]
)
def test_a_hit_in_hbm_is_worth_a_queue_as_long_as_the_load_it_saves(busy_tokens: int, replica: int) -> None:
    # Two thousand tokens load in 2,000 / 1,000 s where they are not in HBM, as long as 2,000 are computed.
    fleet = build_fleet(fleet_of("prefix_aware", 1000.0, recompute_when_faster=False))
    prompt = root("p").extend(2001)
    fleet._router = Told([0, 0])
    fleet.submit(FleetRequest(0, "s", "s", prompt, 1, False), 0.0)
    fleet.advance(50.0)
    fleet.submit(FleetRequest(1, "t", "t", root("busy").extend(busy_tokens), 1, False), 50.0)
    fleet._router = type(build_fleet(fleet_of("prefix_aware", None))._router)()
    assert picked(fleet, prompt, 50.0) == replica


def lost(events: Sequence[Event], request_id: int) -> dict[str, int]:
    for event in events:
        if isinstance(event, FirstToken) and event.request_id == request_id:
            return {name: tokens for name, tokens in zip(LOST_TO, event.cache.lost_to, strict=True) if tokens}
    raise AssertionError(f"request {request_id} had no first token")


APART = (ReplicaGroupConfig(role="prefill"), ReplicaGroupConfig(role="decode"))


def test_what_one_prefill_rank_let_go_of_is_lost_to_capacity_though_its_decoder_holds_it() -> None:
    # The prompt leaves the prefill rank for another one; no router could have had it hit.
    prompt = root("first").extend(60_000)
    asked = [(0.0, prompt), (100.0, root("other").extend(90_000)), (300.0, prompt.extend(1))]
    ops = [Op(at_s, FleetRequest(k, "s", "s", each, 2, False), 0) for k, (at_s, each) in enumerate(asked)]
    cost = fleet_of("prefix_aware", None).cost
    both = [cost.model_copy(update={"kv_capacity_tokens": tokens}) for tokens in (100_000, 200_000)]
    small, large = (
        drive(fleet_of("prefix_aware", None, replicas=APART, cost=c), ops, False, []) for c in both
    )
    assert lost(small[1], 2) == {"capacity": 50_001 - 1 + 9_999 + 1 - 10_000}
    assert lost(large[1], 2) == {}


def test_a_reply_that_lies_with_its_decoder_alone_is_lost_to_routing() -> None:
    prompt = root("chat").extend(500)
    ops = [
        Op(0.0, FleetRequest(0, "s", "s", prompt, 41, True), 0),
        Op(60.0, FleetRequest(1, "s", "s", prompt.extend(41 + 9), 2, False), 0),
    ]
    _, events = drive(fleet_of("prefix_aware", None, replicas=APART), ops, False, [])
    assert lost(events, 1) == {"routing": 40}


def test_prompts_on_their_way_to_a_queue_are_seen() -> None:
    ops = [
        Op(
            0.0,
            FleetRequest(number, f"s{number}", f"s{number}", root(f"cold{number}").extend(3000), 5, False),
            0,
        )
        for number in range(3 * REPLICAS)
    ]
    config = fleet_of("prefix_aware", None)
    late = config.model_copy(update={"cost": config.cost.model_copy(update={"entry_s": 0.25})})
    at_once, later = (seconds(drive(each, ops, False, [])[1], ops) for each in (config, late))
    assert max(at_once) < 3 * 3.0 + 1
    assert max(later) < max(at_once) + 0.5


def over_one_base(seed: int, gap_s: float) -> list[Op]:
    """Return requests that all share a beginning, so that every rank but the first lacks it at first."""
    chance, at_s, ops = Random(seed), 0.0, []
    base = root("base").extend(2000)
    for number in range(40):
        at_s += chance.expovariate(1 / gap_s)
        prompt = base.branch(str(number)).extend(chance.randrange(50, 400))
        ops.append(Op(at_s, FleetRequest(number, f"s{number}", f"s{number}", prompt, 20, False), 0))
    return ops


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize(
    "entry",
    [
        {"entry_s": 0.5, "entry_alone": 1.0},
        {"entry_s": 0.2, "entry_alone": 3.0},
        {"entry_per_token_s": 3e-4, "entry_alone": 1.0},
        {"entry_s": 0.5, "entry_alone": 0.0},
    ],
    ids=["one by one", "later work", "by length", "side by side"],
)
def test_a_front_that_lets_in_one_at_a_time_is_priced(entry: dict[str, float], seed: int) -> None:
    # Prompts take 0.1 s to compute: the way to the queue decides, and a hit is worth little of it.
    config = fleet_of("prefix_aware", None)
    cost = config.cost.model_copy(update={"prefill_tokens_per_s": 20_000.0} | entry)
    config = config.model_copy(update={"cost": cost})
    ops = over_one_base(seed, 0.3)
    mean_s = fmean(seconds(drive(config, ops, False, [])[1], ops))
    assert mean_s < 1.02 * fmean(oracle(config, ops))
