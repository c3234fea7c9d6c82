"""Profiles fitted on the recorded sessions, and what is sampled from them."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from swarm.config.profile import ProfileFile
from swarm.config.read import read_profile
from swarm.errors import ConfigError, UsageError
from swarm.report.fit.comparison import distance, summed_up
from swarm.workload.formats import read_sessions, write_sessions
from swarm.workload.profile.fitted import dump, fit, write_profile
from swarm.workload.profile.generated import generate
from swarm.workload.recorded import RecordedRequest, RecordedSession

SHIPPED = Path(__file__).resolve().parents[3] / "experiments" / "profiles" / "coding-agent.yaml"


@pytest.fixture(scope="module")
def shipped() -> ProfileFile:
    return read_profile(SHIPPED)


def test_the_shipped_profile_is_small_and_holds_no_session(shipped: ProfileFile) -> None:
    assert SHIPPED.stat().st_size <= 32 * 1024
    assert max(len(line) for line in SHIPPED.read_text().splitlines()) < 130
    assert shipped.fitted.sessions == 120


@pytest.mark.slow
def test_sampled_sessions_reach_the_recorded_ones(shipped: ProfileFile, shared_data: Path) -> None:
    recorded = summed_up(read_sessions(shared_data / "agent-traces", "weka"))
    sampled = summed_up(generate(shipped, sessions=120, seed=1))
    limits = dict.fromkeys(recorded.samples, 0.05) | {"requests per session": 0.08}
    for name, limit in limits.items():
        assert distance(recorded.samples[name], sampled.samples[name]) <= limit, name
    assert sampled.ttl_hit_rates == pytest.approx(recorded.ttl_hit_rates, abs=0.02)
    assert sampled.lru_hit_rates == pytest.approx(recorded.lru_hit_rates, abs=0.03)
    assert sampled.reprefills == pytest.approx(recorded.reprefills, rel=0.15)


@pytest.mark.slow
def test_a_slow_service_goes_with_a_long_wait_after_it(shipped: ProfileFile, shared_data: Path) -> None:
    recorded = rank_correlation(read_sessions(shared_data / "agent-traces", "weka"))
    assert recorded > 0.2
    assert rank_correlation(generate(shipped, sessions=120, seed=1)) == pytest.approx(recorded, abs=0.1)


def rank_correlation(sessions: Iterable[RecordedSession]) -> float:
    """Return Spearman's correlation of service times and the think times after them."""
    pairs = []
    for session in sessions:
        main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
        pairs += [
            (before.api_s, after.think_s)
            for before, after in pairwise(main)
            if before.api_s is not None and after.think_s is not None
        ]
    return float(pd.DataFrame(pairs).rank().corr().iloc[0, 1])


@pytest.mark.slow
def test_a_session_is_the_same_however_many_are_asked_for(shipped: ProfileFile) -> None:
    few = list(generate(shipped, sessions=3, seed=5))
    many = list(generate(shipped, sessions=6, seed=5))
    assert few == many[:3]
    assert few != list(generate(shipped, sessions=3, seed=6))


def test_sampled_sessions_survive_a_round_trip_through_files(shipped: ProfileFile, tmp_path: Path) -> None:
    sampled = list(generate(shipped, sessions=4, seed=1))
    write_sessions(iter(sampled), tmp_path / "traces", "weka")
    read = list(read_sessions(tmp_path / "traces", "weka"))
    assert summed_up(read).ttl_hit_rates == summed_up(sampled).ttl_hit_rates


def test_a_profile_survives_a_round_trip_through_its_file(shipped: ProfileFile, tmp_path: Path) -> None:
    write_profile(shipped, tmp_path / "profile.yaml")
    assert read_profile(tmp_path / "profile.yaml") == shipped
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        write_profile(shipped, tmp_path / "profile.yaml")


def plain_session(number: int, requests: int) -> RecordedSession:
    rng = np.random.default_rng(number)
    at_s, blocks, rows = 0.0, 20 + number, []
    for k in range(requests):
        blocks += int(rng.integers(1, 9))
        rows.append(
            RecordedRequest(
                at_s,
                "m",
                True,
                blocks * 64,
                50,
                list(range(blocks)),
                (),
                (),
                None,
                2.0,
                5.0 if k else 0.0,
                None,
            )
        )
        at_s += 2.0 + float(rng.integers(3, 40))
    return RecordedSession(f"p{number}", "p", f"local/{number}", 64, 0, 0, ("m",), tuple(rows))


def test_sessions_without_sub_agents_or_breaks_give_a_profile_without() -> None:
    sessions = [plain_session(k, 5 + k) for k in range(20)]
    profile = fit(sessions, name="plain")
    assert profile.subagents is None
    sampled = summed_up(generate(profile, sessions=20, seed=1))
    assert sampled.ttl_hit_rates[-1] == pytest.approx(summed_up(sessions).ttl_hit_rates[-1], abs=0.03)
    assert "p7" not in dump(profile)


@pytest.mark.parametrize(
    ("sessions", "reason"),
    [
        ([], r"0 session\(s\).*needs 8"),
        ([plain_session(k, 5) for k in range(5)], r"5 session\(s\).*needs 8"),
        ([plain_session(k, 1) for k in range(9)], "no turns to learn from"),
    ],
)
def test_too_little_to_learn_from_is_refused(sessions: list[RecordedSession], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        fit(sessions, name="x")


def test_a_table_of_the_wrong_length_is_refused(shipped: ProfileFile, tmp_path: Path) -> None:
    text = dump(shipped).replace("levels: [0.0,", "levels: [0.0, 0.001,", 1)
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ConfigError, match="quantiles, one a level"):
        read_profile(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("table", "value", "reason"),
    [
        ("start_context", 1e14, r"its prompts have [0-9,]* blocks of 64 tokens, more than 67,108,864"),
        ("arrival_s", 6e9, r"its last request is at 1.2e\+10 s, beyond 1e\+10"),
    ],
)
def test_sessions_that_cannot_be_laid_out_or_read_again_are_refused(
    shipped: ProfileFile, table: str, value: float, reason: str
) -> None:
    sessions = shipped.sessions.model_copy(update={table: (value,) * len(shipped.levels)})
    profile = shipped.model_copy(update={"sessions": sessions, "balance": None})
    with pytest.raises(ConfigError, match=reason):
        list(generate(profile, sessions=4, seed=1))
