"""What a prompt opens with follows from the names of its nodes."""

import pytest

from swarm.context.opening import Opening, opening
from swarm.context.tree import Prompt, root
from swarm.workload.agent import Context, SharedNodes


def agent(tools: int, system: int) -> Prompt:
    context = Context("system/odd", SharedNodes().prefix("worker", tools, system))
    context.append(50)
    context.branch_at(Prompt(context.tip.node, context.length - 20))
    context.append(5)
    return context.tip


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        (agent(120, 30), (120, 150)),
        (agent(0, 30), (0, 30)),
        (SharedNodes().prefix("worker", 120, 30), (120, 149)),
        (Prompt(SharedNodes().prefix("worker", 120, 30).path()[0].node, 7), (6, 6)),
        (root("program/tools/40").extend(40).branch("program/tools/40/sys/9").extend(9).branch("s#0").extend(5),
         (40, 49)),
        (root("program/a/40").extend(40).branch("program/a/40/b/9").extend(9).branch("s#0").extend(5),
         (0, 49)),
        (root("program/a#1/40").extend(40).branch("s#0").extend(5), (0, 0)),
        (root("s#0").extend(40), (0, 0)),
        (root("prompt/1/2").extend(40), (0, 0)),
    ],
)  # fmt: skip
def test_tools_and_system_prompt_end_where_their_nodes_do(prompt: Prompt, found: tuple[int, int]) -> None:
    assert opening(prompt) == Opening(*found)
