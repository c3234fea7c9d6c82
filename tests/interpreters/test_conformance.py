"""One suite, two clocks: programs must be told the same and their effects fall due by the same rules,
on asyncio against a served fleet and on the heap against the same fleet in virtual time."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.config.target import RetryConfig, TargetConfig
from swarm.config.workload import ProgramConfig
from swarm.context.tree import root
from swarm.errors import ProgramError
from swarm.fleet.build import build_fleet
from swarm.live.clock import RunClock
from swarm.live.interpreter import Interpreter
from swarm.live.targets.openai import OpenAITarget
from swarm.provider.server import Provider
from swarm.sim.kernel import Kernel, SimulatedRequest
from swarm.workload.effects import Agent, Infer, Inferred, Join, Program, Spawn, Think
from swarm.workload.source import Material, open_source

FLEET = FleetConfig.model_validate(
    {
        "block_tokens": 4,
        "max_model_len": 500,
        "cost": {
            "kind": "simple",
            "prefill_tokens_per_s": 1e5,
            "decode_base_s": 0.001,
            "kv_bytes_per_token": 1.0,
            "kv_capacity_tokens": 100_000,
        },
    }
)


@dataclass
class Played:
    """What became of a program."""

    told: dict[str, list[Any]] = field(default_factory=dict)
    """By agent: each result that its program was sent, as it noted it."""
    intended: dict[tuple[str, int], float] = field(default_factory=dict)
    completed: dict[tuple[str, int], float] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], str] = field(default_factory=dict)
    cached: dict[tuple[str, int], int | None] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


Play = Callable[[Callable[[Played], Agent]], Played]


class LiveBook:
    """The ledger of a live interpreter."""

    def __init__(self, played: Played) -> None:
        self._played = played

    def agent_started(self, agent: Agent, at_s: float) -> None:
        self._played.started[agent.path] = at_s

    def agent_ended(self, agent: Agent, at_s: float, *, finished: bool) -> None:
        assert finished or self._played.faults
        self._played.ended[agent.path] = at_s

    def sent(self, request: Any) -> int:
        return 0

    def missed(self) -> None:
        raise AssertionError("nothing was lost")

    def program_fault(self, words: str) -> None:
        self._played.faults.append(words)

    def ended(self, effect: Infer, row: Any, gaps_s: Any) -> None:
        turn = (row.agent, row.turn)
        self._played.intended[turn] = row.intended_s
        self._played.completed[turn] = row.completed_s
        self._played.outcomes[turn] = row.outcome
        self._played.cached[turn] = row.cached_tokens

    def remarked(self, row: Any, result: Any) -> None:
        assert row.outcome == "failed" or result.doubts


class SimBook:
    """The observer of a kernel."""

    def __init__(self, played: Played) -> None:
        self._played = played

    def agent_started(self, agent: Agent, at_s: float) -> None:
        self._played.started[agent.path] = at_s

    def agent_ended(self, agent: Agent, at_s: float) -> None:
        self._played.ended[agent.path] = at_s

    def agent_stopped(self, agent: Agent, at_s: float) -> None:
        raise AssertionError("nothing was retired")

    def request_sent(self, at_s: float) -> None:
        pass

    def request_ended(self, request: SimulatedRequest, end: Any) -> None:
        turn = (request.runner.agent.path, request.turn)
        self._played.intended[turn] = request.intended_s
        self._played.completed[turn] = end.at_s
        self._played.outcomes[turn] = "ok" if request.first is not None else "failed"
        self._played.cached[turn] = None if request.first is None else request.first.cache.cached_tokens


def play_live(make: Callable[[Played], Agent]) -> Played:
    played = Played()

    async def main() -> None:
        provider = Provider(FLEET, host="127.0.0.1", port=0)
        await provider.start()
        config = TargetConfig(
            urls=(f"http://127.0.0.1:{provider.port}",), model="m", api="completions", bytes_per_token=4.0
        )
        target = OpenAITarget(config=config, seed=1)
        interpreter = Interpreter(
            clock=RunClock(time.time()),
            target=target,
            ledger=LiveBook(played),
            host=0,
            measured_from_s=0.0,
            resumption=None,
            gate=None,
        )
        ended = await asyncio.wait_for(interpreter.run(make(played), 0.0), 60)
        assert ended.ok or played.faults
        played.told["(returned)"] = [ended.returned]
        await target.close()
        await provider.close()

    asyncio.run(main())
    return played


def play_simulated(make: Callable[[Played], Agent]) -> Played:
    played = Played()
    kernel = Kernel(
        build_fleet(FLEET),
        SimBook(played),
        retry=RetryConfig(),
        seed=1,
        admission=None,
        watch=None,
        breakpoints=None,
        idle_max_s=None,
    )

    def outermost() -> Program:
        """A parent, whose Join tells what the program returned."""
        agent = make(played)
        path = yield Spawn(agent)
        (ended,) = yield Join((path,))
        assert ended.ok
        played.told["(returned)"] = [ended.returned]
        return None

    kernel.start(Agent("outermost", "s", None, "r", outermost), 0.0)
    try:
        kernel.run(float("inf"))
    except ProgramError as fault:
        played.faults.append(str(fault))
    return played


@pytest.fixture(params=[play_live, play_simulated], ids=["live", "simulated"])
def play(request: pytest.FixtureRequest) -> Play:
    found: Play = request.param
    return found


def agent(path: str, make: Callable[[], Program]) -> Agent:
    return Agent(path, "s", None if path == "s" else path.rpartition("/")[0], "r", make)


def infer(name: str, tokens: int = 20, output: int = 4, *, echo: bool = False) -> Infer:
    return Infer(root(name).extend(tokens), output, echo)


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-9)


def test_a_think_counts_from_what_it_says(play: Play) -> None:
    def program() -> Program:
        yield Think(0.02)
        yield infer("a", output=30)
        yield Think(0.03)
        yield infer("b", output=30)
        yield Think(0.005, since="intended")
        yield infer("c", output=30)
        yield Think(0.01)
        yield Think(0.005, since="completed")
        yield infer("d")
        yield Think(5e-3, since="intended")
        yield Think(0.5, since="intended")
        yield infer("e")
        return None

    played = play(lambda _: agent("s", program))
    intended = [played.intended["s", turn] for turn in range(5)]
    completed = [played.completed["s", turn] for turn in range(5)]
    assert intended == [
        near(0.02),
        near(completed[0] + 0.03),
        near(completed[1]),  # Shorter than the request took: never before its completion.
        near(completed[2] + 0.01),  # The later of both.
        near(max(completed[3], intended[3] + 0.5)),
    ]
    assert played.ended["s"] == near(completed[4])


def test_programs_are_told_what_they_asked_for(play: Play) -> None:
    def program(played: Played) -> Program:
        told = played.told.setdefault("s", [])
        for output in (1, 7, 30):
            result: Inferred = yield infer(f"p{output}", output=output)
            told.append((result.ok, result.output_tokens, result.completed_s))
        told.append((yield Think(0.01)))
        return "end"

    played = play(lambda played: agent("s", partial(program, played)))
    told = played.told["s"]
    assert [(ok, tokens) for ok, tokens, _ in told[:3]] == [(True, 1), (True, 7), (True, 30)]
    assert [at_s for _, _, at_s in told[:3]] == [played.completed["s", turn] for turn in range(3)]
    assert told[3] is None
    assert played.told["(returned)"] == ["end"]


def test_a_request_that_is_refused_is_told_so_and_the_program_goes_on(play: Play) -> None:
    def program(played: Played) -> Program:
        result = yield infer("long", tokens=2000)
        played.told["s"] = [result.ok, result.reply]
        yield infer("short")
        return None

    played = play(lambda played: agent("s", partial(program, played)))
    assert played.told["s"] == [False, None]
    assert [played.outcomes["s", turn] == "ok" for turn in (0, 1)] == [False, True]
    assert played.intended["s", 1] == near(played.completed["s", 0])


def test_a_child_starts_at_its_parents_due_time_and_may_outlast_it(play: Play) -> None:
    def child() -> Program:
        yield Think(0.05)
        yield infer("child", output=60)
        return None

    def program(played: Played) -> Program:
        yield infer("first")
        yield Think(0.02)
        played.told["s"] = [(yield Spawn(agent("s/0", child)))]
        yield Think(0.01)
        yield infer("second")
        return None

    played = play(lambda played: agent("s", partial(program, played)))
    spawned_s = played.completed["s", 0] + 0.02
    assert played.told["s"] == ["s/0"]
    assert played.started["s/0"] == near(spawned_s)
    assert played.intended["s/0", 0] == near(spawned_s + 0.05)
    assert played.intended["s", 1] == near(spawned_s + 0.01)
    assert played.ended["s"] == near(played.completed["s", 1])
    assert played.ended["s/0"] == near(played.completed["s/0", 0])


def test_a_child_may_start_later_while_its_parent_goes_on(play: Play) -> None:
    def child() -> Program:
        yield infer("child")
        return None

    def program(played: Played) -> Program:
        path = yield Spawn(agent("s/0", child), 0.05)
        yield infer("first")
        yield Join((path,))
        return None

    played = play(lambda played: agent("s", partial(program, played)))
    assert played.started["s/0"] == near(played.started["s"] + 0.05)
    assert played.intended["s/0", 0] == near(played.started["s"] + 0.05)
    assert played.intended["s", 0] == near(played.started["s"])


def test_a_join_waits_for_the_latest_and_returns_in_the_order_asked(play: Play) -> None:
    def child(name: str, output: int) -> Program:
        yield infer(name, output=output)
        return {"name": name}

    def program(played: Played) -> Program:
        slow = yield Spawn(agent("s/0", partial(child, "slow", 150)))
        fast = yield Spawn(agent("s/1", partial(child, "fast", 2)))
        ended = yield Join((fast, slow))
        played.told["s"] = [(one.path, one.ok, one.completed_s, one.returned) for one in ended]
        yield infer("after")
        return None

    played = play(lambda played: agent("s", partial(program, played)))
    fast_s, slow_s = played.completed["s/1", 0], played.completed["s/0", 0]
    assert fast_s < slow_s
    assert played.told["s"] == [
        ("s/1", True, near(fast_s), {"name": "fast"}),
        ("s/0", True, near(slow_s), {"name": "slow"}),
    ]
    assert played.intended["s", 0] == near(slow_s)


def test_a_join_of_what_has_ended_does_not_move_the_clock_back(play: Play) -> None:
    def child() -> Program:
        yield infer("quick", output=1)
        return None

    def program() -> Program:
        path = yield Spawn(agent("s/0", child))
        yield infer("long", output=80)
        yield Think(0.02)
        yield Join((path,))
        yield infer("after")
        return None

    played = play(lambda _: agent("s", program))
    assert played.completed["s/0", 0] < played.completed["s", 0]
    assert played.intended["s", 1] == near(played.completed["s", 0] + 0.02)


def test_children_may_have_children(play: Play) -> None:
    def leaf(depth: int) -> Program:
        yield infer(f"depth {depth}")
        if depth < 3:
            path = yield Spawn(agent("s" + "/0" * (depth + 1), partial(leaf, depth + 1)))
            (ended,) = yield Join((path,))
            return [depth, *ended.returned]
        return [depth]

    played = play(lambda _: agent("s", partial(leaf, 0)))
    assert played.told["(returned)"] == [[0, 1, 2, 3]]


@pytest.mark.parametrize("echo", [True, False])
def test_a_prompt_that_grows_hits_what_was_sent_and_what_was_echoed(play: Play, echo: bool) -> None:
    def program() -> Program:
        prompt = root("grows").extend(21)
        for _ in range(4):
            result: Inferred = yield Infer(prompt, 10, echo)
            if echo:
                if result.reply is not None:
                    prompt.node.echo(prompt.length, prompt.length + 10, result.reply)
                prompt = prompt.extend(10)
            prompt = prompt.extend(7)
            yield Think(0.01)
        return None

    played = play(lambda _: agent("s", program))
    cached = [played.cached["s", turn] for turn in range(4)]
    # With an echo all but the reply's last token was computed; without, the prompt alone.
    known = [21 + 9, 38 + 9, 55 + 9] if echo else [21, 28, 35]
    assert cached == [0, *(tokens // 4 * 4 for tokens in known)]


PROGRAMS = """
from swarm import Join, Think


def child(agent):
    agent.begin_with("child", 8)
    agent.append(agent.parameters["brief"])
    reply = yield agent.infer(6)
    return [agent.length, reply.output_tokens]


def main(agent):
    agent.begin_with("system", 40)
    start = agent.prompt
    agent.append(int(agent.chance("size").integers(20, 60)))
    yield agent.infer(10)
    paths = []
    for brief in (20, 30):
        yield Think(0.02)
        paths.append((yield agent.spawn(child, brief=brief)))
    ended = yield Join(paths)
    agent.branch(start)
    agent.append(sum(sum(one.returned) for one in ended))
    yield agent.infer(5, keep=False)
    return [agent.length, paths]


def faulty(agent):
    agent.append(5)
    yield agent.infer(5)
    yield 0.5
"""


def program(folder: Path, function: str) -> Agent:
    (folder / "conforming.py").write_text(PROGRAMS)
    config = ProgramConfig(program=f"conforming:{function}", path=folder)
    sys.modules.pop("conforming", None)
    return open_source(config, 7, Material()).session(0)


def test_a_users_program_is_played_by_the_same_rules(play: Play, tmp_path: Path) -> None:
    played = play(lambda _: program(tmp_path, "main"))
    assert played.told["(returned)"] == [[40 + 8 + 20 + 6 + 6 + 8 + 30 + 6 + 6, ["s000000/0", "s000000/1"]]]
    first_s = played.completed["s000000", 0]
    assert played.intended["s000000/0", 0] == near(first_s + 0.02)
    assert played.intended["s000000/1", 0] == near(first_s + 0.04)
    joined_s = max(played.completed["s000000/0", 0], played.completed["s000000/1", 0])
    assert played.intended["s000000", 1] == near(joined_s)
    # The second child shares what both begin with, the last request what the agent went back to.
    assert [played.cached[name] for name in (("s000000/1", 0), ("s000000", 1))] == [8, 40]


def test_a_users_program_that_breaks_a_rule_is_named(play: Play, tmp_path: Path) -> None:
    played = play(lambda _: program(tmp_path, "faulty"))
    (fault,) = played.faults
    assert fault.startswith("program conforming:faulty, agent s000000: it yielded 0.5")
