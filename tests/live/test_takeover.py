"""A host is killed; another one goes on with its sessions from what reached the journal."""

import pytest
from processes import ProcessLauncher
from swarms import driven, experiment

from swarm.records.batch import Batch
from swarm.records.takeover import session_of, split

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


class KillsHost0:
    """Kills host 0 twice, each time when it has reported some turns and one that is open."""

    def __init__(self) -> None:
        self.rows_left = {0: 20, 1: 10}
        """By epoch: the rows that host 0 reports before it is killed."""

    def __call__(self, launcher: ProcessLauncher, batch: Batch) -> None:
        if batch.host != 0 or batch.epoch not in self.rows_left:
            return
        self.rows_left[batch.epoch] -= split(batch)[0].num_rows
        if self.rows_left[batch.epoch] <= 0 and batch.open_rows:
            del self.rows_left[batch.epoch]
            launcher.kill(0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same experiment twice: left alone, and with host 0 killed twice; with its takeovers."""
    folder = tmp_path_factory.mktemp("runs")
    alone = driven(experiment(), folder / "alone")
    kills = KillsHost0()
    killed = driven(experiment(), folder / "killed", on_batch=kills)
    assert not kills.rows_left, "host 0 ended before it was killed twice"
    replacements = [plan for plan in killed.plans if plan.epoch]
    assert [(plan.host, plan.epoch) for plan in replacements] == [(0, 1), (0, 2)]
    return alone.results(), killed.results(), [plan.takeover for plan in replacements]


def test_every_turn_is_answered_once_and_as_planned(runs) -> None:
    alone, killed, _ = runs
    assert turns(killed.rows) == turns(alone.rows)


def test_think_times_are_as_planned(runs) -> None:
    alone, killed, _ = runs
    expected = thinks(alone.rows)
    assert {name: expected[name] for name in thinks(killed.rows)} == thinks(killed.rows)


def test_what_was_open_is_interrupted_and_its_turn_resumed(runs) -> None:
    _, killed, takeovers = runs
    rows = killed.rows.to_pylist()
    lost = {(row["agent"], row["turn"]) for row in rows if row["outcome"] == "interrupted"}
    assert lost
    assert lost == set().union(*(takeover.open_turns for takeover in takeovers))
    resumed = {(row["agent"], row["turn"]) for row in rows if row["resumed"]}
    assert lost <= resumed
    assert all(row["error_class"] == "host_lost" for row in rows if row["outcome"] == "interrupted")


def test_no_resumed_turn_is_intended_before_the_takeover(runs) -> None:
    _, killed, takeovers = runs
    resumed = [row["intended_s"] for row in killed.rows.to_pylist() if row["resumed"]]
    assert resumed
    assert min(resumed) >= min(takeover.heard_until_s for takeover in takeovers)


def test_requests_add_up_and_nearly_all_are_accounted_for(runs) -> None:
    _, killed, _ = runs
    totals, rows = killed.totals, killed.rows
    assert totals.sent == rows.num_rows + totals.unaccounted
    # What was due within the last reporting intervals of two kills, which a busy machine stretches.
    assert 0 <= totals.unaccounted <= 0.15 * totals.sent


def test_agents_and_sessions_are_counted_once(runs) -> None:
    alone, killed, _ = runs
    for name in ("sessions_started", "sessions_finished", "orchestrators_started", "subagents_started"):
        assert getattr(killed.totals, name) == getattr(alone.totals, name), name


def test_a_takeover_keeps_no_ended_session(runs) -> None:
    assert any(takeover.sessions_ended for takeover in runs[2])
    for takeover in runs[2]:
        assert not {session_of(agent) for agent in takeover.outcomes} & set(takeover.sessions_ended)
