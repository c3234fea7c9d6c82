"""Chains of lines: their firsts and nearest ones, against walks step by step, and in few steps."""

from __future__ import annotations

import random

from swarm.workload.formats.agent_logs.chains import Chains, Nearest


def test_the_first_and_nearest_lines_are_those_that_a_walk_finds() -> None:
    drawn = random.Random(1)
    names = [f"l{at}" for at in range(200)]
    before = {name: drawn.choice(names[:at]) if at and drawn.random() < 0.95 else None
              for at, name in enumerate(names)}  # fmt: skip
    kinds = {name for name in names if drawn.random() < 0.2}
    chains, nearest = Chains(), Nearest(before.get, kinds.__contains__)
    for name in names:
        chains.add(name, before[name])
    for name in drawn.sample(names, len(names)):
        walk = [name]
        while (at := before[walk[-1]]) is not None:
            walk.append(at)
        assert chains.first(name) == walk[-1]
        assert nearest.of(name) == next((each for each in walk if each in kinds), None)


def test_a_chain_goes_on_where_a_line_before_it_comes_later() -> None:
    chains = Chains()
    chains.add("b", "a")
    assert chains.first("b") == "a"
    chains.add("a", "root")
    assert chains.first("b") == "root"


def test_a_circle_has_an_end() -> None:
    before = {"a": "b", "b": "c", "c": "a"}
    chains = Chains()
    for line, earlier in before.items():
        chains.add(line, earlier)
    assert {chains.first(line) for line in before} <= set(before)
    assert Nearest(before.get, lambda _: False).of("a") is None


def test_each_line_of_a_long_chain_is_walked_once() -> None:
    asked = 0

    def before(line: str) -> str | None:
        nonlocal asked
        asked += 1
        return str(int(line) - 1) if line != "0" else None

    nearest = Nearest(before, lambda line: line == "0")
    assert {nearest.of(str(line)) for line in range(2000)} == {"0"}
    assert asked <= 2000
