"""What a program is given: contexts that share, grow, go back and are handed on; chance by name."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.records.rows import to_message
from swarm.sim.run import simulate
from swarm.workload.source import load_scripts


def rows_of(asked: dict[str, Any]) -> list[dict[str, Any]]:
    config = Experiment.model_validate(asked)
    settled = simulate(config, load_scripts(config.workload, config.seed, 1))
    assert not settled.totals.faults
    rows: list[dict[str, Any]] = settled.rows.to_pylist()
    return sorted(rows, key=lambda row: (row["agent"], row["turn"]))


def of(rows: list[dict[str, Any]], agent: str, *columns: str) -> list[Any]:
    found = [tuple(row[column] for column in columns) for row in rows if row["agent"] == agent]
    return [one[0] for one in found] if len(columns) == 1 else found


def test_a_context_grows_by_what_is_appended_and_answered(write: Any) -> None:
    rows = rows_of(
        write(
            """
            def main(agent):
                agent.append(100)
                yield agent.infer(8)
                agent.append(20)
                reply = yield agent.infer(16, keep=False)
                assert reply.ok and reply.output_tokens == 16
                yield Think(1.0, "human")
                agent.append(4)
                yield agent.infer(1)
            """
        )
    )
    assert of(rows, "s000000", "prompt_tokens", "output_tokens", "opened_by") == [
        (100, 8, "start"),
        (128, 16, "tool"),
        (132, 1, "human"),
    ]
    # Blocks of 4; an answer's last token was not computed.
    assert of(rows, "s000000", "cached_tokens") == [0, 104, 128]


def test_what_agents_begin_with_is_shared_by_all_that_begin_alike(write: Any) -> None:
    rows = rows_of(
        write(
            """
            def main(agent):
                agent.begin_with("tools", 40)
                agent.begin_with("system", 20 if agent.session == "s000002" else 24)
                agent.append(8)
                yield agent.infer(1)
            """,
            load={"agents": 3, "ramp_s": 3, "replace": False, "duration_s": None},
        )
    )
    assert [row["cached_tokens"] for row in rows] == [0, 64, 40]


def test_a_branch_goes_back_and_counts_what_it_rewrites(write: Any) -> None:
    rows = rows_of(
        write(
            """
            def main(agent):
                agent.begin_with("system", 40)
                start = agent.prompt
                agent.append(60)
                yield agent.infer(10)
                agent.append(10)
                summary = yield agent.infer(30, keep=False, kind="compact")
                agent.branch(start)
                assert agent.length == 40
                agent.append(summary.output_tokens)
                yield agent.infer(1)
            """,
            load={"agents": 1, "replace": False, "duration_s": None},
        )
    )
    assert of(rows, "s000000", "prompt_tokens", "kind", "rewritten_tokens", "cached_tokens") == [
        (100, "work", 0, 0),
        (120, "compact", 0, 108),
        (70, "work", 80, 40),
    ]


def test_children_have_parameters_and_may_start_from_their_parents_context(write: Any) -> None:
    rows = rows_of(
        write(
            """
            def child(agent):
                agent.append(agent.parameters["brief"])
                yield agent.infer(agent.parameters["answer"])
                return agent.length


            def main(agent):
                agent.append(100)
                yield agent.infer(5)
                forked = yield agent.spawn(child, base=agent.prompt, brief=7, role="fork")
                apart = yield agent.spawn(child, brief=50)
                ended = yield Join((forked, apart))
                agent.append(sum(one.returned for one in ended))
                yield agent.infer(1)
            """,
            parameters={"answer": 3, "brief": 1},
            load={"agents": 1, "replace": False, "duration_s": None},
        )
    )
    assert of(rows, "s000000/0", "prompt_tokens", "role", "parent") == [(112, "fork", "s000000")]
    assert of(rows, "s000000/1", "prompt_tokens", "role") == [(50, "subagent")]
    assert of(rows, "s000000", "prompt_tokens") == [100, 105 + 115 + 53]


CHANCY = """
    def child(agent):
        agent.append(1 + int(agent.chance("size").integers(1000)))
        yield agent.infer(1)


    def main(agent):
        for _ in range(int(agent.chance("turns").integers(2, 6))):
            yield Think(float(agent.chance("think").exponential(0.5)))
            agent.append(1 + int(agent.chance("size").integers(1000)))
            yield agent.infer(1 + int(agent.chance("output").integers(20)))
            yield agent.spawn(child)
"""


def test_a_simulation_of_a_program_leaves_the_same_bytes_again(write: Any) -> None:
    config = Experiment.model_validate(write(CHANCY))
    first, again, other = (
        to_message(simulate(each, load_scripts(each.workload, each.seed, 1)).rows)
        for each in (config, config, config.model_copy(update={"seed": 2}))
    )
    assert first == again
    assert first != other


def test_replies_may_be_planned(write: Any) -> None:
    asked = write(
        """
        def main(agent):
            agent.append(10)
            yield agent.infer(10)
            yield agent.infer(1)
        """,
        load={"agents": 1, "replace": False, "duration_s": None},
    )
    for replies, echo in (("actual", True), ("planned", False)):
        asked["workload"]["replies"] = replies
        assert of(rows_of(asked), "s000000", "prompt_tokens", "echo") == [(10, echo), (20, echo)]


@pytest.mark.parametrize("kind", ["generator", "method"])
def test_a_function_may_be_any_that_returns_a_generator(write: Any, kind: str) -> None:
    text = """
        def inner(agent):
            agent.append(3)
            yield agent.infer(1)


        class Programs:
            @staticmethod
            def method(agent):
                yield from inner(agent)


        def generator(agent):
            return inner(agent)
    """
    function = "Programs.method" if kind == "method" else kind
    assert rows_of(write(text, function=function, load={"agents": 1, "replace": False, "duration_s": None}))
