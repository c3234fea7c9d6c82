"""What YAML lets pass in silence: refused, with its place, in little time and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from swarm.config.read import read_experiment
from swarm.config.yaml_text import parse
from swarm.errors import ConfigError

EXPERIMENT = "name: a\nworkload: {kind: synthetic}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands twice, first in line 1"),
        ("a: {b: 1, 'b': 2}\n", "line 1: the key 'b' stands twice"),
        ("a: .nan\n", "a: found NaN"),
        ("a: [1, {b: .NaN}]\n", "a.1.b: found NaN"),
    ],
)
def test_what_yaml_takes_in_silence_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(text, "a.yaml:")


def test_a_key_may_override_what_a_merge_brought_in_also_through_another_merge() -> None:
    text = "a: &a {one: 1, two: 1}\nb: &b {<<: *a, one: 2}\nc: {<<: *b, two: 3}\n"
    assert parse(text, "a.yaml:")["c"] == {"one": 2, "two": 3}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("load: {agents: yes, duration_s: 60}", "load.agents: found True"),
        ("load: {agents: 2, duration_s: 1e308}", r"load.duration_s: found 1e\+308; at most 1e\+10"),
        ("load: {agents: 2, duration_s: 60}\nwindow_s: on", "window_s: found True"),
        (
            "load: {duration_s: 60}\nfleet: {cost: {kind: simple, kv_capacity_tokens: 9000000000000000000}}",
            r"fleet.cost.kv_capacity_tokens: found 9e\+18",
        ),
    ],
)
def test_a_quantity_without_sense_is_named(tmp_path: Path, part: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(f"{EXPERIMENT}{part}\n")
    with pytest.raises(ConfigError, match=said):
        read_experiment(tmp_path / "a.yaml", [])


def merges(depth: int, width: int) -> str:
    lines = ["a0: &a0 {" + ", ".join(f"k{key}: 1" for key in range(50)) + "}"]
    for level in range(1, depth):
        names = ", ".join(f"*a{level - 1}" for _ in range(width))
        lines.append(f"a{level}: &a{level} {{<<: [{names}], x{level}: 1}}")
    return "\n".join(lines)


CHECK = """
import sys
from pathlib import Path
from swarm.config.yaml_text import parse
from swarm.errors import ConfigError
try:
    parse(sys.stdin.read(), "a.yaml:")
except ConfigError:
    pass
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize(
    "text",
    [merges(40, 9), merges(1000, 15), "a: " + "[" * 300_000, "a: " + "{a: " * 200_000, "? " * 200_000],
    ids=["merges", "wide merges", "lists", "mappings", "keys"],
)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_bomb_costs_little(text: str) -> None:
    command = [sys.executable, "-c", CHECK]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=True, timeout=60)
    assert int(done.stdout) < 200 * 1024
