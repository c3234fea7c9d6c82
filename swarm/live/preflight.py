"""A target tried before a run begins: its model named, one real request in the shape that the run will send.

What is sent here is in no row and no counter of the run: `Tried` says how much it was. A server that refuses
ends the run in its own words, with what to do about them.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.live.targets.control import ControlPlane, resolve
from swarm.live.targets.token_length import Counted, counted, scaled
from swarm.measure.failures import remedy

WAITED_S = 5.0
"""How long nothing may come before it is said what is waited for; said again after each further time."""
FIRST_TOKEN_S = 60.0
"""How long the first token of a trial may take."""
HEED_EVERY_S = 0.2
NAMES_SHOWN = 8

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """What a trial waits for now, in words that follow `waiting for`."""

    awaited: str


_SILENT = (
    "something accepts connections there and does not answer: is the server still loading, is it the right "
    "port?"
)
_HINTS = (
    (
        ("proxy http",),
        "the proxy is named by target.proxy or, where that is `environment`, by https_proxy, http_proxy or "
        "all_proxy: mend it, or go past it by target.proxy: null, or by the host's name in no_proxy",
    ),
    (
        ("name or service not known", "nodename nor servname", "no address", "name resolution"),
        "DNS knows no such host: check the host's name",
    ),
    (
        ("refused", "connection attempts failed"),
        "nothing listens there: is the server running, and is the port right?",
    ),
    (
        ("wrong_version_number", "wrong version number", "record layer"),
        "the port speaks no TLS: write http:// in place of https://",
    ),
    (
        ("certificate",),
        "name the certificate that signed it in target.ca_file, or set target.verify: false",
    ),
    (
        ("http 401", "http 403"),
        "give a key that may use the model: export it, and name the variable in target.api_key_env "
        "(--api-key-env)",
    ),
    (
        ("http 404", "http 405"),
        "the path is no OpenAI-compatible API: check what follows the host in the URL; a server that lists "
        "no models needs the model's name (--model)",
    ),
    (
        ("readtimeout", "timed out", "not complete within"),
        _SILENT,
    ),
    (
        ("remoteprotocolerror", "illegal", "invalid http"),
        "what answers there speaks no HTTP/1.1: check the port, and http:// or https://",
    ),
    (
        ("unreachable", "no route"),
        "there is no route to that host from here: check the host, and the network",
    ),
    (("location:",), "write where the Location leads in place of this URL"),
    (
        ("expected a list of models",),
        "that is no OpenAI-compatible API: check what follows the host in the URL, or name the model "
        "(--model)",
    ),
)
"""Words of a fault, and what to do."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A target that has answered: all that a run must know of it, and what was sent to learn it."""

    target: TargetConfig
    requests: int
    prompt_tokens: int
    notes: tuple[str, ...]

    def told(self) -> list[str]:
        """Return what a reader of the run must know of it."""
        words = "request" if self.requests == 1 else "requests"
        return [
            f"before the run {self.requests} {words} with {self.prompt_tokens:,} prompt tokens tried the "
            "target; no row and no count has them",
            *self.notes,
        ]


def hint(words: str) -> str | None:
    """Return what to do about a fault that keeps a server from being asked at all; None: unknown."""
    low = words.lower()
    found = next((what for signs, what in _HINTS if any(sign in low for sign in signs)), None)
    # A plain server waits for the end of what it takes for a request's first line.
    is_tls_awaited = found == _SILENT and "https://" in low
    return f"{found} If it speaks no TLS, write http:// in place of https://" if is_tls_awaited else found


def with_hint(words: str) -> str:
    """Return a fault's words with what to do, where that is known."""
    known = hint(words)
    return words.removesuffix("; is the server running?") + (f"; {known}" if known else "")


def tried(target: TargetConfig, *, heed: Callable[[], None], note: Callable[[str], None]) -> Tried:
    """Return the target, resolved and tried; `heed` is called meanwhile, and may raise.

    Raises:
        RunError: The target cannot be used as the run would use it, in the server's words.
    """
    stage = Stage(f"{', '.join(target.urls)} to answer")
    return waited(_tried(target, note, stage), heed=heed, note=note, stage=stage)


def waited(
    work: Coroutine[Any, Any, T], *, heed: Callable[[], None], note: Callable[[str], None], stage: Stage
) -> T:
    """Return what the work returns, run in a loop of its own; a long wait is told."""
    return asyncio.run(_waited(work, heed, note, stage))


async def _waited(
    work: Coroutine[Any, Any, T], heed: Callable[[], None], note: Callable[[str], None], stage: Stage
) -> T:
    loop = asyncio.get_running_loop()
    begun_s = told_s = loop.time()
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=HEED_EVERY_S)
            heed()
            if not task.done() and loop.time() - told_s >= WAITED_S:
                told_s = loop.time()
                note(f"waiting for {stage.awaited}, {told_s - begun_s:.0f} s so far")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return task.result()


async def _tried(target: TargetConfig, note: Callable[[str], None], stage: Stage) -> Tried:
    try:
        resolved = await resolve(target)
    except RunError as fault:
        raise RunError(f"the target cannot be used: {with_hint(str(fault))}") from None
    listed = await _listed(resolved) if target.model is not None else None
    notes: list[str] = []
    if listed is not None and resolved.model not in listed:
        notes.append(
            f"target.model: {resolved.model!r} is not among the models that the server lists"
            f"{_named(resolved.model or '', listed)}"
        )
    answers: list[Counted] = []
    refusals: list[str] = []
    for url in resolved.urls:
        one = _impatient(resolved.model_copy(update={"urls": (url,), "weights": ()}))
        stage.awaited = (
            f"the first token of a request for model {resolved.model!r} that {url} has accepted (is the "
            f"model still loading, are others queued? given up {one.timeouts.first_token_s:.0f} s after it)"
        )
        # One server's usage tells the lengths of all: they serve the same model.
        found = await counted(one, both=not any(each.error is None for each in answers))
        # A context shorter than the second question is no fault.
        if found[0].error is not None:
            refusals.append(_words(url, resolved, found[0], notes))
        answers += found
    if len(refusals) == len(resolved.urls):
        raise RunError(refusals[0])
    notes += [f"left aside at the start: {words}" for words in refusals]
    for words in notes:
        note(words)
    return Tried(
        scaled(resolved, answers),
        requests=len(answers),
        prompt_tokens=sum(each.prompt_tokens or each.planned_tokens for each in answers),
        notes=tuple(notes),
    )


def _impatient(target: TargetConfig) -> TargetConfig:
    """Return the target as a trial asks it: within a minute, without long waits for another attempt."""
    timeouts, retry = target.timeouts, target.retry
    return target.model_copy(
        update={
            "timeouts": timeouts.model_copy(
                update={"first_token_s": min(timeouts.first_token_s, FIRST_TOKEN_S)}
            ),
            "retry": retry.model_copy(
                update={
                    "attempts_max": min(retry.attempts_max, 3),
                    "wait_max_s": min(retry.wait_max_s, 2.0),
                    "retry_after_max_s": min(retry.retry_after_max_s, 5.0),
                }
            ),
        }
    )


async def _listed(target: TargetConfig) -> list[str] | None:
    """Return the models that the first server lists; None where it lists none."""
    async with ControlPlane(target) as control:
        try:
            return [str(model["id"]) for model in await control.models()]
        except RunError:
            return None


def _named(model: str, listed: list[str]) -> str:
    close = difflib.get_close_matches(model, listed, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": {', '.join(listed[:NAMES_SHOWN])}" + (", ..." if len(listed) > NAMES_SHOWN else "")


def _words(url: str, target: TargetConfig, failed: Counted, notes: list[str]) -> str:
    """Return why a run does not begin: what was sent, what came, what to do."""
    assert failed.error is not None
    known = remedy(failed.outcome, failed.status, failed.error, exact_output=target.exact_output)
    told = [
        f"the target refuses what this run would send: one {target.api} request for model {target.model!r} "
        f"to {url} ended as {failed.outcome}: {failed.error}",
        *notes,
        *([known] if known else [text for text in (hint(failed.error),) if text]),
    ]
    return "; ".join(told)
