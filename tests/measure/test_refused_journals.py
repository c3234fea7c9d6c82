"""A disk that did not take a host's journal: whether all is known all the same."""

from dataclasses import replace
from pathlib import Path

import pytest
from reported import reports

from swarm.measure.refused_journals import refused_journals

REFUSAL = "host 0: its journal is full"
NOTED = ((f"{REFUSAL}; all that it sent is known",), ())


@pytest.mark.parametrize(
    ("refused_from", "there", "told"),
    [
        (3, (0, 1, 2), "nothing"),
        (1, (0, 1, 2), "all"),
        (1, (0, 1), "some"),
        (1, (0, 2), "some"),
    ],
)
def test_all_is_known_of_a_host_whose_reports_are_all_there(
    tmp_path: Path, refused_from: int, there: tuple[int, ...], told: str
) -> None:
    made = reports(tmp_path)
    made[-1] = replace(made[-1], is_last=True)
    told_by = [replace(each, refusal=REFUSAL if each.sequence >= refused_from else "") for each in made]
    until_s = made[1 if 1 in there else 0].gauges.at_s
    some = ((), (f"{REFUSAL}; what it did after {until_s:.1f} s is known in part",))
    expected = {"nothing": ((), ()), "all": NOTED, "some": some}
    assert refused_journals([told_by[at] for at in there]) == expected[told]
