"""What keeps two runs from being held against each other, or must be known with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from swarm.records.run_folder import RunFolder

PARTS = ("workload", "load", "fleet", "target")
"""Parts of an experiment that make two runs two experiments."""
DIFFERENCES_NAMED = 6
SHOWN_MAX = 40
"""Characters of a value that are shown."""


def is_one_mode(before: RunFolder, after: RunFolder) -> bool:
    """Return whether both runs were measured, or both emulated."""
    return bool(before.summary()["mode"] == after.summary()["mode"])


def unusable(folders: list[RunFolder]) -> list[str]:
    """Return which of the runs are invalid, in words."""
    found = []
    for folder in folders:
        reasons = folder.summary()["invalid_reasons"]
        if reasons:
            found.append(f"{folder.path.name} is invalid, do not use its numbers: {reasons[0]}")
    return found


def caveats(before: RunFolder, after: RunFolder) -> list[str]:
    """Return what a reader must know before he reads differences of two runs."""
    found = unusable([before, after])
    if not is_one_mode(before, after):
        modes = (f"{each.path.name} {MODES[each.summary()['mode']]}" for each in (before, after))
        found.append(f"one run is measured and one emulated: {' and '.join(modes)}")
    unlike = list(_unlike(_asked(before), _asked(after)))
    if unlike:
        more = f" and {len(unlike) - DIFFERENCES_NAMED} more" if len(unlike) > DIFFERENCES_NAMED else ""
        found.append(
            f"the runs were asked for different things: {', '.join(unlike[:DIFFERENCES_NAMED])}{more}"
        )
    return found


MODES = {"live": "is measured", "simulate": "is emulated"}


def _asked(folder: RunFolder) -> Mapping[str, Any]:
    """Return the parts of the run's experiment; nothing where the folder does not say."""
    try:
        experiment = folder.run()["experiment"]
    except (OSError, KeyError, TypeError):
        return {}
    return {part: experiment.get(part) for part in PARTS}


def _unlike(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """Yield where two experiments differ, key by key; a part that only one of them has is one difference."""
    if not before or not after or not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after and at:
            yield f"{at} ({_short(before)}, {_short(after)})"
        return
    if before.get("kind") != after.get("kind"):
        yield f"{at} ({_short(before.get('kind'))}, {_short(after.get('kind'))})"
        return
    for key in dict.fromkeys((*before, *after)):
        yield from _unlike(before.get(key), after.get(key), f"{at}.{key}".lstrip("."))


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 1]}…"
