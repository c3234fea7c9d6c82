"""`swarm catalog`: connectors are listed, and shown with the source of each value."""

from __future__ import annotations

from typing import get_args

import pytest
import yaml

from swarm.commands.catalog import KINDS, catalog
from swarm.config.catalog import ConnectorEntry
from swarm.config.fleet import ROUTER_KEYS, FleetConfig, RouterName
from swarm.errors import UsageError


def test_connectors_are_listed_and_shown_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog("connectors", None) == 0
    listed = capsys.readouterr().out
    for name in ("vllm_offloading", "lmcache", "hicache", "mooncake_store", "nixl"):
        assert name in listed
    assert catalog("connectors", "LMCache") == 0
    shown = capsys.readouterr().out
    assert "object_tokens: 256" in shown and "sources:" in shown
    with pytest.raises(UsageError, match="did you mean 'lmcache'"):
        catalog("connectors", "lmcach")


def test_every_name_of_a_kind_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog(None, None) == 0
    asked = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert asked == list(KINDS)
    for kind in asked:
        assert catalog(kind, None) == 0
        for line in capsys.readouterr().out.splitlines():
            assert len(line.split(maxsplit=1)) == 2, f"{kind}: {line!r}"


def test_an_entry_is_found_by_what_others_call_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog("gpus", "nvidia h20") == 0
    assert "name: H20" in capsys.readouterr().out
    assert catalog("models", "openai/gpt-oss-20b") == 0
    assert "name: gpt-oss-20b" in capsys.readouterr().out


def test_a_router_is_shown_with_its_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    for name in get_args(RouterName):
        assert catalog("routers", name) == 0
        fleet = yaml.safe_load(capsys.readouterr().out)["fleet"]
        assert FleetConfig.model_validate(fleet) == FleetConfig(router=name)
        assert fleet.get("router") == name and set(fleet) == {"router", ROUTER_KEYS.get(name, "router")}


def test_a_value_of_a_connector_without_a_source_is_refused() -> None:
    stated = {"name": "mine", "about": "my own", "transfers": {"streams": 4}, "sources": {}}
    with pytest.raises(ValueError, match="sources are of"):
        ConnectorEntry.model_validate(stated)
