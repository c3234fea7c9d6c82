"""What a run says of where it comes from."""

import subprocess
import sys
from pathlib import Path

import swarm.fleet.rank
from swarm.records.origin import build, versions


def test_the_build_is_plain_where_the_source_runs() -> None:
    is_source = Path(swarm.fleet.rank.__file__).suffix == ".py"
    assert build() == ("plain" if is_source else "compiled") == versions()["build"]


def test_the_command_says_its_version() -> None:
    command = [sys.executable, "-P", "-c", "from swarm.cli import main; main()", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = versions()
    assert (
        said == f"swarm {found['swarm']} ({found['build']}), Python {found['python']}, Ray {found['ray']}\n"
    )
