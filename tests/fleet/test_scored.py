"""What endpoint pickers know and weigh, held to values worked out by hand."""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import pytest

from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, SimpleCostConfig, TierConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FirstToken, FleetRequest
from swarm.fleet.fleet import Fleet
from swarm.fleet.routing.routed import RoutedPrefixes

KV_TOKENS = 10_000


def fleet_of(**changes: object) -> Fleet:
    """Return three replicas that compute 1,000 tokens a second, with a pool of 10,000 tokens each."""
    cost = SimpleCostConfig(prefill_tokens_per_s=1000.0, decode_base_s=0.1, kv_capacity_tokens=KV_TOKENS)
    settings = {
        "block_tokens": 1,
        "cost": cost,
        "replicas": (ReplicaGroupConfig(count=3, max_batched_tokens=4096),),
        "tiers": (TierConfig(name="hbm"),),
    }
    return build_fleet(FleetConfig.model_validate(settings | changes))


def picks(fleet: Fleet, asked: list[tuple[float, Prompt, int]]) -> list[int]:
    """Return the replica that each request got, numbered as they were first taken: equals draw lots.

    A request is its time, prompt and reply.
    """
    chosen = {}
    for number, (at_s, prompt, output) in enumerate([*asked, (1e6, root("end").extend(1), 1)]):
        while (due_s := fleet.next_event_s()) is not None and due_s <= at_s:
            for event in fleet.advance(due_s):
                if isinstance(event, FirstToken):
                    chosen[event.request_id] = event.replica
        fleet.submit(FleetRequest(number, f"s{number}", f"s{number}", prompt, output, False), at_s)
    names: dict[int, int] = {}
    return [names.setdefault(chosen[number], len(names)) for number in range(len(asked))]


def scored(**weights: float) -> dict[str, object]:
    none = {"prefix": 0.0, "kv_usage": 0.0, "queue": 0.0, "requests": 0.0}
    return {"router": "scored", "router_scores": none | weights}


def fresh(*tokens: int) -> list[tuple[float, Prompt, int]]:
    """Return one request a second of prompts that share nothing, with a reply of 600 steps of 0.1 s."""
    return [(float(at), root(f"fresh{at}").extend(each), 600) for at, each in enumerate(tokens)]


def test_free_kv_is_what_open_requests_do_not_hold() -> None:
    # 6,000, 3,000 and 2,000 of 10,000 are held: the fourth goes to the last, the fifth to the second.
    asked = fresh(6000, 3000, 2000, 4000, 100)
    assert picks(fleet_of(**scored(kv_usage=1.0)), asked) == [0, 1, 2, 2, 1]


def test_requests_are_counted_whatever_their_size() -> None:
    assert picks(fleet_of(**scored(requests=1.0)), fresh(6000, 3000, 2000, 4000, 100)) == [0, 1, 2, 0, 1]


def test_a_prefix_sent_somewhere_is_known_there_before_it_is_computed() -> None:
    shared = root("shared").extend(3000)
    asked = [(0.0, shared.branch(str(at)).extend(1000), 1) for at in range(4)]
    assert picks(fleet_of(**scored(prefix=1.0)), asked) == [0, 0, 0, 0]
    # A prefix of 3 of 4 parts is worth 0.75; the one who has the most open requests loses 1.
    assert picks(fleet_of(**scored(prefix=1.0, requests=1.0)), asked) == [0, 1, 2, 0]


@pytest.mark.parametrize(("looked_at", "expected"), [(None, [0, 1]), (1000, [0, 0])])
def test_only_the_first_tokens_are_looked_at(looked_at: int | None, expected: list[int]) -> None:
    # Half of the prompt is worth 0.5 against 0.8 for an idle rank; all of its first 1,000 tokens are worth 1.
    shared = root("shared").extend(1000)
    asked = [(0.0, shared.branch(str(at)).extend(1000), 600) for at in range(2)]
    router = scored(prefix=1.0, requests=0.8)
    router["router_scores"] |= {"prefix_tokens_max": looked_at}  # type: ignore[operator]
    assert picks(fleet_of(**router), asked) == expected


def brute(capacity: int, asked: list[list[tuple[str, int]]]) -> list[int]:
    """Return matches of prompts given as (node, end) from the root on, by a list of nodes in order of use."""
    known: OrderedDict[str, tuple[int, int]] = OrderedDict()
    found = []
    for path in asked:
        starts = [0, *(end for _, end in path)]
        matched = 0
        for name, end in path:
            reached = known[name][1] if name in known else 0
            matched = max(matched, min(reached, end))
            if reached < end:
                break
        found.append(matched)
        for (name, end), start in reversed(list(zip(path, starts, strict=False))):
            reached = known.pop(name)[1] if name in known else start
            known[name] = (start, max(reached, end))
        while sum(end - start for start, end in known.values()) > capacity:
            known.popitem(last=False)
    return found


def test_what_was_routed_is_kept_by_last_use() -> None:
    chance = Random(5)
    shared = [root(f"r{at}").extend(100) for at in range(3)]
    branches = {(at, leaf): shared[at].branch(f"{at}.{leaf}") for at in range(3) for leaf in range(4)}
    routed, matches, paths = RoutedPrefixes(700), [], []
    for _ in range(300):
        at, leaf, length = chance.randrange(3), chance.randrange(4), chance.randrange(1, 120)
        prompt = branches[at, leaf].extend(length)
        matches.append(routed.matched(prompt))
        routed.add(prompt)
        paths.append([(f"r{at}", 100), (f"{at}.{leaf}", 100 + length)])
    assert matches == brute(700, paths)
