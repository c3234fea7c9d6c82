"""Whatever a file or an override holds, what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.config.read import read_experiment
from swarm.errors import ConfigError

WRONG = [
    "2001-99-99",
    "0b_",
    "1" * 5000,
    "!!float x",
    "!!bool x",
    '!!int ""',
    "!!timestamp x",
    "[" * 2000,
]
"""Values on which the YAML library itself stumbles, each in another way."""

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 40))])
CHAIN = "\n".join(["a0: &a0 [x]", *(f"a{k}: &a{k} [*a{k - 1}]" for k in range(1, 3000))])


@pytest.mark.parametrize("value", WRONG)
def test_a_value_of_a_wrong_form_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.yaml").write_text(f"name: {value}\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: is not YAML: "):
        read_experiment(tmp_path / "a.yaml", [])
    (tmp_path / "b.yaml").write_text("name: b\n")
    with pytest.raises(ConfigError, match=r"--set seed=.*: the value is not YAML: "):
        read_experiment(tmp_path / "b.yaml", [f"seed={value}"])


@pytest.mark.parametrize("text", [BOMB, CHAIN, "a: &a [*a]", "a: &a {b: *a}", "a: " + "[" * 70 + "]" * 70])
def test_values_that_repeat_or_hold_themselves_are_bounded(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"has more than 1,048,576 values, or more than 64|is not YAML"):
        read_experiment(tmp_path / "a.yaml", [])


def test_what_is_no_plain_file_is_bounded_too() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: has more than 1,048,576 bytes"):
        read_experiment(Path("/dev/zero"), [])


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (".".join("x" * 65), "a key has 64 parts at most, got 65"),
        ("slo.\N{SUPERSCRIPT TWO}.at_most", "is not an index of a list of 1"),
        (f"slo.{'1' * 5000}.at_most", "is not an index of a list of 1"),
    ],
)
def test_a_key_that_leads_nowhere_is_named(tmp_path: Path, key: str, reason: str) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nslo: [{metric: ttft_s, at_most: 1}]\n")
    with pytest.raises(ConfigError, match=reason):
        read_experiment(tmp_path / "a.yaml", [f"{key}=1"])
