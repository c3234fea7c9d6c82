"""Hostile servers and the whole command: words, an exit code, and results that say what happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import hostile_cases
import pytest

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(400)]
WHOLE = "a whole reply of a stated length"
TURNS = (
    "flood in tokens in chunks",
    "flood within an event until the close",
    "drip in tokens in chunks",
    "silence after the head of a stated length",
    "reset after a token in chunks",
    "deep JSON in chunks",
    "flood within an error's body in chunks",
)
"""What turns meet; the run itself is carried out."""
MODELS = (
    "flood within 200 OK in chunks",
    "drip within 200 OK of a stated length",
    "silence within the headers",
)
"""What the question for the model meets: there is no run."""
PAGES = (*hostile_cases.PAGES, "flood within 200 OK in chunks of an answer")
"""What the question for counters meets, before and after good turns."""
TIMEOUTS = {"connect_s": 10, "first_token_s": 2, "between_tokens_s": 2, "total_s": 4}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where all cases are served."""
    script = [sys.executable, hostile_cases.__file__]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.kill()


def target(port: int, name: str, **more: Any) -> dict[str, Any]:
    fixed = {"model": "m", "bytes_per_token": 4.0, "overhead_tokens": 0, **more}
    urls = [hostile_cases.base(port, name)]
    return {"urls": urls, "retry": {"attempts_max": 1}, "timeouts": TIMEOUTS, **fixed}


LOAD = {"agents": 4, "ramp_s": 0, "duration_s": 6, "drain_s": 5}


@pytest.mark.parametrize("name", TURNS)
def test_a_run_ends_before_it_begins_where_its_turns_would_meet_this(
    swarm_run: Any, port: int, name: str
) -> None:
    run = swarm_run(hosts__count=1, load=LOAD, target=target(port, name))
    code, text = run.end()
    assert (code, "Traceback" in text, run.out.exists()) == (1, False, False), text
    assert f"ended as {hostile_cases.CASES[name].outcome}: " in text


@pytest.mark.parametrize("name", MODELS)
def test_a_server_that_does_not_name_its_model_ends_the_start_in_words(
    swarm_run: Any, port: int, name: str
) -> None:
    run = swarm_run(hosts__count=1, load=LOAD, target=target(port, f"{name} of an answer", model=None))
    code, text = run.end()
    assert (code, "Traceback" in text, run.out.exists()) == (1, False, False), text
    assert "/v1/models: " in text.splitlines()[-1]


@pytest.mark.parametrize("page", PAGES)
def test_counters_that_cannot_be_are_left_aside_with_a_word(swarm_run: Any, port: int, page: str) -> None:
    run = swarm_run(hosts__count=1, load=LOAD, target=target(port, f"{WHOLE}+{page}"))
    _, text = run.end()
    assert "Traceback" not in text
    assert "the target's own counters are left aside: GET http://" in text
    assert (run.out / "summary.json").exists()
