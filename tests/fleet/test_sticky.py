"""llm-d's sticky routing, held to its rules written down block by block, and to values worked out by hand."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, SimpleCostConfig, TierConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FirstToken, FleetRequest
from swarm.fleet.fleet import Fleet

RANKS = 4
BLOCK_TOKENS = 64
"""What the router looks at, whatever smaller blocks the ranks have."""


def fleet_of(**sticky: object) -> Fleet:
    """Return replicas that compute 1,000 tokens a second."""
    cost = SimpleCostConfig(prefill_tokens_per_s=1000.0, decode_base_s=0.01, kv_capacity_tokens=200_000)
    settings = {
        "block_tokens": 16,
        "cost": cost,
        "replicas": (ReplicaGroupConfig(count=RANKS, max_batched_tokens=512),),
        "tiers": (TierConfig(name="hbm"),),
        "router": "sticky",
        "router_sticky": sticky,
    }
    return build_fleet(FleetConfig.model_validate(settings))


class Twin:
    """The router's rules, with an index of blocks named by all tokens up to their end."""

    def __init__(self, *, share: float, bound: float, looked_at: int) -> None:
        self.share, self.bound, self.looked_at = share, bound, looked_at
        self.sent: list[set[tuple[object, ...]]] = [set() for _ in range(RANKS)]
        self.in_flight: dict[int, tuple[int, int]] = {}
        """By request without a first token: its rank, and its tokens that were not known there."""

    def names(self, prompt: Prompt) -> list[tuple[object, ...]]:
        tokens = [(node, at) for node, start, end in prompt.path() for at in range(start, end)]
        tokens = tokens[: self.looked_at]
        ends = [*range(BLOCK_TOKENS, len(tokens), BLOCK_TOKENS), len(tokens)]
        return [(end, tokens[end - 1]) for end in ends]

    def equals(self, prompt: Prompt) -> set[int]:
        """Return the ranks among which the router draws."""
        names = self.names(prompt)
        matched = [self.matched(names, rank) for rank in range(RANKS)]
        sticky = [rank for rank in range(RANKS) if matched[rank] / len(names) >= self.share]
        others = [rank for rank in range(RANKS) if rank not in sticky]
        if sticky and others:
            least = [min(self.load(rank) for rank in ranks) for ranks in (sticky, others)]
            if least[0] - least[1] > self.bound:
                sticky = []
        costs = {rank: self.load(rank) + self.uncached(prompt, rank) for rank in sticky or range(RANKS)}
        return {rank for rank, cost in costs.items() if cost == min(costs.values())}

    def matched(self, names: list[tuple[object, ...]], rank: int) -> int:
        return next((at for at, name in enumerate(names) if name not in self.sent[rank]), len(names))

    def uncached(self, prompt: Prompt, rank: int) -> int:
        names = self.names(prompt)
        beyond = max(0, prompt.length - len(names) * BLOCK_TOKENS)
        return (len(names) - self.matched(names, rank)) * BLOCK_TOKENS + beyond

    def load(self, rank: int) -> int:
        return sum(tokens for at, tokens in self.in_flight.values() if at == rank)

    def take(self, request_id: int, prompt: Prompt, rank: int) -> None:
        self.in_flight[request_id] = rank, self.uncached(prompt, rank)
        self.sent[rank].update(self.names(prompt))


def growing(chance: Random) -> list[tuple[float, Prompt]]:
    """Return requests whose contexts grow, over shared beginnings; a burst every now and then."""
    shared = [root(f"shared{at}").extend(chance.randrange(200, 900)) for at in range(4)]
    contexts = [shared[at % 4].branch(f"session{at}").extend(chance.randrange(20, 200)) for at in range(12)]
    asked, at_s = [], 0.0
    for _ in range(250):
        at_s += chance.choice([0.0, 0.05, 0.2, 0.6])
        at = chance.randrange(len(contexts))
        contexts[at] = contexts[at].extend(chance.randrange(1, 130))
        asked.append((at_s, contexts[at]))
    return asked


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("share", "bound", "looked_at"), [(0.8, 1e9, 10**6), (0.5, 600, 10**6), (0.8, 300, 700), (1.0, 64, 10**6)]
)
def test_it_picks_as_the_rules_say(seed: int, share: float, bound: int, looked_at: int) -> None:
    fleet = fleet_of(prefix_share=share, behind_tokens_max=int(bound), prefix_tokens_max=looked_at)
    twin = Twin(share=share, bound=bound, looked_at=looked_at)
    drawn = 0
    for number, (at_s, prompt) in enumerate(growing(Random(seed))):
        for event in fleet.advance(at_s):
            if isinstance(event, FirstToken):
                del twin.in_flight[event.request_id]
        expected = twin.equals(prompt)
        fleet.submit(FleetRequest(number, f"s{number}", f"s{number}", prompt, 20, False), at_s)
        for event in fleet.advance(at_s):
            if isinstance(event, FirstToken):
                del twin.in_flight[event.request_id]
        sequence = fleet.sequence_of(number)
        assert sequence is not None
        assert sequence.place in expected, f"SEED={seed} request {number}"
        drawn += len(expected) > 1
        twin.take(number, prompt, sequence.place)
        fleet.audit()
        assert [rank.unanswered_tokens for rank in fleet.ranks] == [twin.load(at) for at in range(RANKS)]
    assert drawn


def test_equals_are_drawn_evenly() -> None:
    fleet = fleet_of()
    taken: Counter[int] = Counter()
    for number in range(400):
        fleet.submit(
            FleetRequest(number, f"s{number}", f"s{number}", root(f"r{number}").extend(64), 1, False),
            10.0 * number,
        )
        taken[next(at for at, rank in enumerate(fleet.ranks) if rank.unanswered_tokens)] += 1
        fleet.advance(10.0 * number + 5)
    # Four standard deviations of a binomial around 100.
    assert all(abs(taken[at] - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5 for at in range(RANKS))


def test_what_is_preempted_does_not_count_again() -> None:
    # The pool holds one reply and a half: the second is preempted after its first token.
    cost = SimpleCostConfig(prefill_tokens_per_s=1e6, decode_base_s=0.01, kv_capacity_tokens=1536)
    config = FleetConfig(cost=cost, router="sticky", replicas=(ReplicaGroupConfig(count=2),))
    fleet = build_fleet(config)
    prompt = root("p").extend(512)
    for number in range(4):
        fleet.submit(FleetRequest(number, "s", "s", prompt.branch(str(number)).extend(16), 512, False), 0.0)
    while (due_s := fleet.next_event_s()) is not None:
        fleet.advance(due_s)
        if due_s > 0.1:
            assert all(rank.unanswered_tokens == 0 for rank in fleet.ranks if not rank.waiting)
    assert fleet.counters()["preemptions"] > 0
    assert all(rank.unanswered_tokens == 0 for rank in fleet.ranks)


def test_a_request_given_up_does_not_count() -> None:
    cost = SimpleCostConfig(prefill_tokens_per_s=100.0, entry_s=1.0)
    config = FleetConfig(cost=cost, router="sticky", replicas=(ReplicaGroupConfig(count=2),))
    fleet = build_fleet(config)
    for number in range(2):
        fleet.submit(FleetRequest(number, "s", "s", root(f"p{number}").extend(640), 5, False), 0.0)
    assert sorted(rank.unanswered_tokens for rank in fleet.ranks) == [640, 640]
    fleet.cancel(0, 0.5)
    fleet.advance(2.0)
    assert sorted(rank.unanswered_tokens for rank in fleet.ranks) == [0, 640]
    fleet.cancel(1, 3.0)
    fleet.advance(60.0)
    assert all(rank.unanswered_tokens == 0 for rank in fleet.ranks)
    fleet.audit()


@pytest.mark.parametrize("bound", [None, 0])
def test_without_a_bound_a_prompt_stays_however_far_behind_its_rank_is(bound: int | None) -> None:
    fleet = fleet_of(behind_tokens_max=bound)
    shared = root("shared").extend(6400)
    places = set()
    for number in range(30):
        prompt = shared.branch(str(number)).extend(640)
        fleet.submit(FleetRequest(number, f"s{number}", f"s{number}", prompt, 1, False), 0.0)
        sequence = fleet.sequence_of(number)
        assert sequence is not None
        places.add(sequence.place)
    assert len(places) == 1
