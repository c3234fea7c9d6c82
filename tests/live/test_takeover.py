"""A host is killed; another one goes on with its sessions from what reached the journal."""

import pytest
from swarms import Local, aimed, experiment, provider

from swarm.records.takeover import session_of

PLANNED = ("planned_prompt_tokens", "planned_output_tokens", "kind", "opened_by", "prompt_node", "role")


def turns(rows):
    """Return what was planned of each turn that was answered; each turn once."""
    found = {}
    for row in rows.to_pylist():
        if row["outcome"] == "ok":
            name = (row["agent"], row["turn"])
            assert name not in found, f"{name} was answered twice"
            found[name] = {column: row[column] for column in PLANNED}
    return found


def thinks(rows):
    """Return the time between each sub-agent's turns, less those of resumed ones."""
    by_name = {(row["agent"], row["turn"]): row for row in rows.to_pylist() if row["outcome"] == "ok"}
    return {
        (agent, turn): round(row["intended_s"] - by_name[agent, turn - 1]["completed_s"], 6)
        for (agent, turn), row in by_name.items()
        if turn and row["parent"] is not None and not row["resumed"]
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same experiment twice: left alone, and with host 0 killed twice; with the pasts of the kills."""
    folder = tmp_path_factory.mktemp("runs")
    config = experiment()
    with provider(config) as port:
        config = aimed(config, port)
        alone, killed = Local(config, folder / "alone", hosts=2), Local(config, folder / "killed", hosts=2)
        for local in (alone, killed):
            local.start(0)
            local.start(1)
        pasts = []
        for epoch, rows in ((1, 50), (2, 90)):
            killed.wait_for_rows(rows)
            killed.kill(0)
            pasts.append(killed.past(0))
            killed.start(0, epoch=epoch, past=pasts[-1])
        alone.wait()
        killed.wait()
        return alone.settled(), killed.settled(), pasts


def test_every_turn_is_answered_once_and_as_planned(runs) -> None:
    alone, killed, _ = runs
    assert turns(killed.rows) == turns(alone.rows)


def test_think_times_are_as_planned(runs) -> None:
    alone, killed, _ = runs
    expected = thinks(alone.rows)
    assert {name: expected[name] for name in thinks(killed.rows)} == thinks(killed.rows)


def test_what_was_open_is_interrupted_and_its_turn_resumed(runs) -> None:
    _, killed, pasts = runs
    rows = killed.rows.to_pylist()
    lost = {(row["agent"], row["turn"]) for row in rows if row["outcome"] == "interrupted"}
    assert lost == set().union(*(past.open_turns for past in pasts))
    resumed = {(row["agent"], row["turn"]) for row in rows if row["resumed"]}
    assert lost <= resumed
    assert all(row["error_class"] == "host_lost" for row in rows if row["outcome"] == "interrupted")


def test_no_resumed_turn_is_intended_before_the_takeover(runs) -> None:
    _, killed, pasts = runs
    resumed = [row["intended_s"] for row in killed.rows.to_pylist() if row["resumed"]]
    assert resumed
    assert min(resumed) >= min(past.heard_until_s for past in pasts)


def test_requests_add_up_and_nearly_all_are_accounted_for(runs) -> None:
    _, killed, _ = runs
    totals, rows = killed.totals, killed.rows
    assert totals.sent == rows.num_rows + totals.unaccounted
    # What was due within the last reporting intervals of two kills, which a busy machine stretches.
    assert 0 <= totals.unaccounted <= 0.1 * totals.sent


def test_agents_and_sessions_are_counted_once(runs) -> None:
    alone, killed, _ = runs
    for name in ("sessions_started", "sessions_finished", "orchestrators_started", "subagents_started"):
        assert getattr(killed.totals, name) == getattr(alone.totals, name), name


def test_a_past_keeps_no_ended_session(runs) -> None:
    for past in runs[2]:
        assert not {session_of(agent) for agent in past.answers} & set(past.sessions_ended)
