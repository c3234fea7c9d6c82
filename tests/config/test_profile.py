"""How long a profile's tables may be: the longest are read, and one value more is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from swarm.config.profile import (
    CACHES_MAX,
    CLASSES_MAX,
    EDGES_MAX,
    LEVELS_MAX,
    TIMES_MAX,
    TOTALS,
    TTLS_MAX,
    WITHIN_MAX,
    ProfileFile,
)
from swarm.config.read import PROFILE_BYTES_MAX, read_profile, validate
from swarm.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[2] / "experiments" / "profiles" / "coding-agent.yaml"
EDGES = ("input_edges", "output_edges", "gap_edges_s", "think_edges_s", "growth_edges")


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def rising(count: int) -> list[float]:
    """Return values of 17 digits."""
    return np.sort(np.random.default_rng(count).uniform(0.1, 1.0, count)).tolist()


def longest() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    levels = len(data["levels"])
    data["levels"] = [0.0, *rising(LEVELS_MAX - 2), 1.0]
    for section in ("sessions", "turns", "breaks", "subagents"):
        for key, table in data[section].items():
            if isinstance(table, list) and len(table) == levels:
                data[section][key] = rising(LEVELS_MAX)
    data["turns"]["growth_context"] = rising(CLASSES_MAX - 1)
    data["turns"]["growth_tool"] = [rising(LEVELS_MAX)] * CLASSES_MAX
    data["breaks"]["rewrite_wait_s"] = rising(CLASSES_MAX - 1)
    data["breaks"]["rewrite_share"] = rising(CLASSES_MAX)
    balance = {key: rising(EDGES_MAX) for key in EDGES}
    balance |= {"ttls_s": rising(TTLS_MAX), "time_edges_s": rising(TIMES_MAX), "within_s": rising(WITHIN_MAX)}
    sums = TOTALS + sum(map(len, balance.values())) - WITHIN_MAX + CACHES_MAX + WITHIN_MAX * TIMES_MAX
    reach_s = [rising(CACHES_MAX)] * TIMES_MAX
    data["balance"] = {**balance, "reach_s": reach_s, "targets": rising(sums)}
    return data


def test_the_longest_tables_fit_a_file_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.dump(longest(), Dumper=NoAliases, default_flow_style=False))
    assert path.stat().st_size <= PROFILE_BYTES_MAX
    assert len(read_profile(path).levels) == LEVELS_MAX


@pytest.mark.parametrize(
    ("key", "most", "place"),
    [
        ("levels", LEVELS_MAX, lambda data: data["levels"]),
        ("turns.growth_context", CLASSES_MAX - 1, lambda data: data["turns"]["growth_context"]),
        ("turns.growth_tool", CLASSES_MAX, lambda data: data["turns"]["growth_tool"]),
        ("breaks.rewrite_wait_s", CLASSES_MAX - 1, lambda data: data["breaks"]["rewrite_wait_s"]),
        ("breaks.rewrite_share", CLASSES_MAX, lambda data: data["breaks"]["rewrite_share"]),
        *((f"balance.{key}", EDGES_MAX, lambda data, key=key: data["balance"][key]) for key in EDGES),
        ("balance.ttls_s", TTLS_MAX, lambda data: data["balance"]["ttls_s"]),
        ("balance.time_edges_s", TIMES_MAX, lambda data: data["balance"]["time_edges_s"]),
        ("balance.reach_s.0", CACHES_MAX, lambda data: data["balance"]["reach_s"][0]),
        ("balance.within_s", WITHIN_MAX, lambda data: data["balance"]["within_s"]),
    ],
)
def test_one_value_more_is_refused(key: str, most: int, place: Callable[[dict[str, Any]], list[Any]]) -> None:
    data = longest()
    place(data).append(place(data)[-1])
    with pytest.raises(ConfigError, match=f" {key}: found .* at most {most} items.*, not {most + 1}"):
        validate(ProfileFile, data, "p.yaml")


def test_a_table_longer_than_the_levels_is_refused() -> None:
    data = longest()
    data["turns"]["output"] = rising(LEVELS_MAX + 1)
    with pytest.raises(ConfigError, match=f"output: must have {LEVELS_MAX} quantiles"):
        validate(ProfileFile, data, "p.yaml")


def test_a_balance_without_targets_is_refused() -> None:
    data = longest()
    data["balance"]["targets"] = []
    with pytest.raises(ConfigError, match=r"balance\.targets: none"):
        validate(ProfileFile, data, "p.yaml")


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("a" * (PROFILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="has more than 524,288 bytes; is it a profile"):
        read_profile(tmp_path / "p.yaml")
