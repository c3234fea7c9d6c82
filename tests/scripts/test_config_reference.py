"""The reference of all keys, and the schemas that editors use, say what the configuration's models say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
FLEETS = sorted((ROOT / "experiments/fleets").glob("*.yaml"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("config_reference", ROOT / "scripts/config_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_key_has_words(script: ModuleType) -> None:
    assert script.wordless() == []


def test_files_are_what_the_models_say(script: ModuleType) -> None:
    stale = [path.name for path, text in script.files().items() if path.read_text() != text]

    assert stale == [], "run scripts/config_reference.py"


def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / name).read_text()))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_schema_takes_the_shipped_experiments(path: Path) -> None:
    errors = list(validator("experiment.schema.json").iter_errors(yaml.safe_load(path.read_text())))

    assert errors == []


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_schema_takes_the_shipped_fleets(path: Path) -> None:
    assert list(validator("fleet.schema.json").iter_errors(yaml.safe_load(path.read_text()))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a", "workload": {"kind": "synthetic"}, "lode": {}},
        {"name": "a", "workload": {"kind": "synthetic", "turnz": {"median": 1, "sigma": 0}}},
        {"name": "a", "workload": {"kind": "synthetic"}, "load": {"agents": 0}},
        {"name": "a", "workload": {"kind": "synthetic"}, "fleet": {"router": "by_moon"}},
        {"workload": {"kind": "synthetic"}},
    ],
)
def test_schema_refuses_what_the_models_refuse(wrong: dict[str, Any]) -> None:
    assert list(validator("experiment.schema.json").iter_errors(wrong))
