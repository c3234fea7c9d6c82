"""The only door to the charting library: from frames to charts, and from charts to specs and pictures."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import altair as alt
import pandas as pd
import vl_convert
from altair.utils import schemapi

from swarm.report import palette
from swarm.report.theme import CLOCK, CLOCK_TICKS, CONFIG

# Frames are thinned to what a screen shows before they come here; a session of 6,000 requests is drawn whole.
alt.data_transformers.disable_max_rows()
# The library checks each part of a chart, and each copy again: longer than it takes to draw. Tests check.
schemapi.disable_debug_mode()

PNG_SCALE = 2
VEGA_LITE = "6.4"


def spec_of(chart: Any) -> dict[str, Any]:
    """Return the Vega-Lite specification of a chart, in the project's look."""
    spec = chart.to_dict(validate=False)
    spec["config"] = CONFIG
    assert isinstance(spec, dict)
    return spec


def write_picture(chart: Any, path: Path, kind: Literal["png", "svg"]) -> None:
    """Write a chart as a picture on white."""
    spec = {**spec_of(chart), "background": "white", "padding": 16}
    if kind == "png":
        path.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=PNG_SCALE))
    else:
        path.write_text(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE), encoding="utf-8")


def library() -> str:
    """Return the script that draws specifications in a browser, whole: a page with it needs no network.

    To make it takes as much CPU as all pictures of a run, so it is kept in the user's cache.
    """
    kept = _cache() / f"vega-lite-{VEGA_LITE}-by-{version('vl-convert-python')}.js"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        whole = kept.with_suffix(f".{os.getpid()}")
        whole.write_text(script, encoding="utf-8")
        whole.replace(kept)
    return script


def _cache() -> Path:
    """Return the user's folder for what can be made again (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "swarm-emulator"


WORD_PX = 56
"""Width of a word in a chart, with some room."""
TIME_TITLE = "time since the start"


def time_axis(title: str | None = TIME_TITLE) -> alt.X:
    """Return the run's time as a horizontal axis."""
    return alt.X(
        "at_s:Q",
        title=title,
        axis=alt.Axis(labelExpr=CLOCK, values=alt.ExprRef(CLOCK_TICKS)),
        scale=alt.Scale(nice=False),
    )


def spread(values: pd.Series[float]) -> tuple[float, float]:
    """Return the least and the greatest of some values."""
    return float(values.min()), float(values.max())


def phases(measured: dict[str, float] | None) -> list[Any]:
    """Return the warm-up as a shaded part, with its name."""
    if measured is None or not measured["from_s"]:
        return []
    base = alt.Chart(pd.DataFrame({"at_s": [0.0], "to_s": [measured["from_s"]], "text": ["warm-up"]}))
    shade = base.mark_rect(color=palette.TEXT, opacity=0.13).encode(x="at_s:Q", x2="to_s:Q")
    # In a narrow stretch the word would lie on the axis: there it stands behind it.
    has_room = f"scale('x', datum.to_s) >= {WORD_PX}"
    within = alt.condition(has_room, "text:N", alt.value(""))
    behind = alt.condition(has_room, alt.value(""), "text:N")
    texts = [
        base.mark_text(align=align, dx=dx, dy=8, fontSize=10, color=palette.TEXT).encode(
            x="to_s:Q", y=alt.value(0), text=text
        )
        for align, dx, text in (("right", -4, within), ("left", 4, behind))
    ]
    return [shade, *texts]
