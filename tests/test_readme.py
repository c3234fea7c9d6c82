"""What the README tells people to type is what is checked, and what it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.splitlines()]


def test_ci_runs_the_readmes_test_command() -> None:
    (command,) = [line for line in COMMANDS if "pytest" in line]
    assert f"({command})" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_what_the_readme_links_to_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"experiments/[\w/-]+\.yaml", README))))
def test_the_experiments_that_the_readme_names_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_program_that_the_page_shows_is_the_example() -> None:
    page = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\nfrom swarm.*?\n\n\n(def orchestrator.*?)```", page, re.S)
    assert shown is not None
    example = (ROOT / "examples" / "react.py").read_text(encoding="utf-8")
    lines = [line for line in example.splitlines() if '"""' not in line]
    assert shown.group(1).strip() in "\n".join(lines)
