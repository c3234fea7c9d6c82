"""A ReAct-like agent: reason, call a tool, read what came of it; now and then ask two sub-agents."""

from swarm import AgentContext, Join, Think


def orchestrator(agent: AgentContext):
    """Work through `turns` steps; every `delegates_every` steps two researchers are sent out."""
    chance = agent.chance("tools")
    agent.begin_with("tools and system prompt", 6_000)
    agent.append(800)  # the person's task
    for turn in range(1, agent.parameters["turns"] + 1):
        yield agent.infer(int(chance.integers(80, 250)))  # a thought and a tool call
        if turn % agent.parameters["delegates_every"] == 0:
            first = yield agent.spawn(researcher, steps=3)
            second = yield agent.spawn(researcher, steps=5)
            reports = yield Join((first, second))
            agent.append(sum(report.returned for report in reports))
        else:
            yield Think(float(chance.exponential(2.0)), "tool")
            agent.append(int(chance.integers(100, 1_500)))  # what the tool printed


def researcher(agent: AgentContext):
    """Look around for `steps` steps; return how many tokens the report has."""
    agent.begin_with("researcher", 2_000)
    agent.append(300)  # the brief
    for _ in range(agent.parameters["steps"]):
        yield agent.infer(120)
        yield Think(1.0)
        agent.append(600)
    report = yield agent.infer(400)
    return report.output_tokens
