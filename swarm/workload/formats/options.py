"""What a file does not say about itself and must be stated: `name:key=value,...`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from swarm.errors import UsageError

_ROWS = ("cumulative", "delta")
_UNITS = ("s", "ms")
_SUBAGENT_TIMES = ("relative", "absolute")
BYTES_MIN, BYTES_MAX = 0.25, 1024
"""Of a token: less would lay a short text out in more blocks than memory has room for."""


@dataclass(frozen=True, slots=True)
class Options:
    """Stated facts of a file.

    `rows`: whether the rows of a session hold its whole context or what is new; empty: not stated.
    `bytes_per_token` turns text into token counts where a format holds text alone. `time_unit` is that of
    timestamps and delays; `subagent_times` says what a sub-agent's requests count from: its own start, or its
    session's. Empty: the file is to tell.
    """

    block_tokens: int
    rows: str
    bytes_per_token: float
    settings: tuple[str, ...]
    """Which of these facts can be stated of a format's files; others are in them, or mean nothing."""
    time_unit: str = ""
    subagent_times: str = ""


def parse_format(spec: str, defaults: dict[str, Options], doing: str) -> tuple[str, Options]:
    """Return the format's name and its options: the defaults of that format, as changed after the colon.

    `doing` says what the options are for: `read` or `written`.
    """
    name, _, settings = spec.partition(":")
    if name not in defaults:
        raise UsageError(f"format {name!r} is unknown; known: {', '.join(defaults)}")
    options = defaults[name]
    stated: set[str] = set()
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        key = key.strip()
        options = _changed(options, key, value.strip(), spec)
        if key not in options.settings:
            others = [other for other, entry in defaults.items() if key in entry.settings and other != "auto"]
            raise UsageError(
                f"format {spec!r}: {key} means nothing where {name} is {doing}; leave it out "
                f"(it is for {', '.join(others)})"
            )
        if key in stated:
            raise UsageError(f"format {spec!r}: {key} is stated twice; state it once")
        stated.add(key)
    return name, options


def _changed(options: Options, key: str, value: str, spec: str) -> Options:
    try:
        if key == "block_tokens" and 0 < int(value) <= 1 << 20:
            return replace(options, block_tokens=int(value))
        if key == "rows" and value in _ROWS:
            return replace(options, rows=value)
        if key == "time_unit" and value in _UNITS:
            return replace(options, time_unit=value)
        if key == "subagent_times" and value in _SUBAGENT_TIMES:
            return replace(options, subagent_times=value)
        if key == "bytes_per_token" and BYTES_MIN <= float(value) <= BYTES_MAX:
            return replace(options, bytes_per_token=float(value))
    except ValueError:
        pass
    raise UsageError(
        f"format {spec!r}: {key}={value} is not understood; settings are block_tokens=1..1048576, "
        f"rows={'|'.join(_ROWS)}, time_unit={'|'.join(_UNITS)}, subagent_times={'|'.join(_SUBAGENT_TIMES)} "
        f"and bytes_per_token={BYTES_MIN}..{BYTES_MAX}"
    )
