"""What a comparison of two runs says, in sentences: what is worse, what is better, what is noise."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.report.compare.comparison import SHOWN, Difference
from swarm.report.run.answer import Sentence, Tone

UNTOLD = ("too few", "undecided")


def told(found: Sequence[Difference]) -> list[Sentence]:
    """Return the sentences, what is for the worse first."""
    kinds: tuple[tuple[str, Tone], ...] = (("worse", "bad"), ("better", "good"))
    said = [
        Sentence(f"{verdict} in {', '.join(map(_change, those))}.", tone)
        for verdict, tone in kinds
        if (those := [each for each in found if each.verdict == verdict])
    ]
    noise = [each.label for each in found if each.verdict == "no difference"]
    if noise:
        said.append(Sentence(f"no difference beyond the noise in {', '.join(noise)}."))
    untold = [each.label for each in found if each.verdict in UNTOLD]
    if untold:
        said.append(Sentence(f"not to be told from so few sessions: {', '.join(untold)}."))
    return said


def _change(each: Difference) -> str:
    show = SHOWN[each.unit]
    return f"{each.label} ({show(each.before.value)} to {show(each.after.value)})"
