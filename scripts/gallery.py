"""Draw docs/gallery.md: pictures of shipped experiments, each with its command and what it says.

    python scripts/gallery.py [--folder DIR]

Runs every command (some minutes of one core), writes the pictures to docs/images/gallery and the page. Other
pages and the README show the same files. What a picture says is the sentence that the report computed for it.
DIR keeps the runs, and one that is there already is not run again. Needs Pillow (`pip install pillow`): a
picture is kept with 256 colours, a tenth of its bytes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images" / "gallery"
COLOURS = 256
HEAD = """# Gallery
Made by `python scripts/gallery.py` from experiments that are shipped. Each picture has the command that draws
it and, where its report has one, the sentence computed for it. For the same pictures of your own fleet or
sessions name your own files in the command. A ring is where a curve falls off. A letter is a point's
zone: A loses money, B breaks even, C earns; points close together share one.
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of a run, and the question that it answers."""

    question: str
    command: tuple[str, ...]
    chart: str
    """Its file in the run's `charts/`, without ending."""
    title: str
    """Its title in the report, above the sentence."""


def simulated(name: str) -> tuple[str, ...]:
    return ("simulate", f"experiments/{name}.yaml")


ANALYZED = ("analyze", "experiments/traces")
PICTURES_SHOWN = (
    Picture(
        "What does a session spend its tokens on?",
        simulated("replay"),
        "session_timeline",
        "Token usage of a session",
    ),
    Picture("What must a cache hold, by TTL?", ANALYZED, "working_set", "Working set over time"),
    Picture(
        "How often is a block prefilled again, by TTL?", ANALYZED, "ttl", "Hit rate and re-computation by TTL"
    ),
    Picture(
        "Where does serving long contexts lose money?",
        simulated("cache_hit_curve"),
        "01-throughput-output_tokens_per_s",
        "Output over context length",
    ),
    Picture(
        "What does it earn?", simulated("cache_hit_curve"), "02-money-revenue_per_cost", "What serving earns"
    ),
    Picture(
        "Which memory under HBM carries how many agents, prefill and decode together?",
        simulated("memory_tiers_decode"),
        "01-throughput-output_tokens_per_s",
        "Output over concurrent agents",
    ),
    Picture(
        "And with prefill and decode apart?",
        simulated("memory_tiers_prefill"),
        "01-throughput-output_tokens_per_s",
        "Output over concurrent agents",
    ),
    Picture(
        "Why is the cliff so steep?",
        simulated("sequential_vs_random"),
        "01-cache-hit_rate",
        "Hit rate over the working set",
    ),
    Picture("How many agents, within which objective?", simulated("capacity"), "capacity", "Capacity"),
    Picture(
        "And after ten minutes?",
        ("capacity", "--fleet", "experiments/fleets/h100x8.yaml"),
        "capacity",
        "Capacity",
    ),
)


def main() -> None:
    """Run what is not there yet, copy the pictures, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        page = drawn(folder or Path(scratch))
    (ROOT / "docs" / "gallery.md").write_text(page, encoding="utf-8")


def drawn(folder: Path) -> str:
    """Return the page's text; its pictures are in their folder."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    parts = [HEAD]
    for each in PICTURES_SHOWN:
        run = folder / Path(each.command[-1]).stem
        if not run.exists():
            command = [sys.executable, "-m", "swarm", *each.command, "--out", str(run)]
            subprocess.run(
                command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        name = f"{run.name}-{each.chart}.png"
        shrink(run / "charts" / f"{each.chart}.png", PICTURES / name)
        said = said_of((run / "report.html").read_text(encoding="utf-8"), each.title)
        line = f"swarm {' '.join(each.command)}" + (" --out DIR" if each.command == ANALYZED else "")
        picture = f"![{each.title}](images/gallery/{name})"
        parts.append(
            "\n".join((f"## {each.question}", "```", line, "```", *([said, ""] if said else []), picture, ""))
        )
    return "\n".join(parts)


def shrink(drawn: Path, to: Path) -> None:
    """Write a picture with a palette: charts have few colours, and their edges need no more than it holds."""
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(to, optimize=True)


def said_of(report: str, title: str) -> str:
    """Return the computed sentence under a title of a report."""
    found = re.search(
        rf"<h2[^>]*>{re.escape(title)}[^<]*</h2>\s*(?:<p class=said>(.*?)</p>)?", report, re.DOTALL
    )
    if found is None:
        titles = re.findall(r"<h2[^>]*>(.*?)</h2>", report)
        raise SystemExit(f"no part {title!r} in the report, which has {titles}")
    return unescape(found[1] or "")


if __name__ == "__main__":
    main()
