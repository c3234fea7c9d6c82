"""The load asked for, in closed form."""

import pytest

from swarm.config.load import LoadConfig
from swarm.load.pacing import pacing_of
from swarm.load.requested import asked_sessions_mean


@pytest.mark.parametrize(
    ("load", "span", "expected"),
    [
        ({"agents": 10, "ramp_s": 0}, (0.0, 60.0), 10.0),
        # Two sessions start at 0 and 5: over [0, 10) they are alive 10 + 5 of 10 seconds.
        ({"agents": 2, "ramp_s": 10}, (0.0, 10.0), 1.5),
        ({"agents": 2, "ramp_s": 10}, (5.0, 10.0), 2.0),
        # Asked for, whether there are sessions for all of it or not.
        ({"agents": 2, "ramp_s": 0, "replace": False}, (0.0, 10.0), 2.0),
        ({"agents": 4, "ramp_s": 0, "sessions_max": 2}, (0.0, 10.0), 4.0),
        ({"shape": {"kind": "arrivals", "per_s": 1.0}}, (0.0, 10.0), None),
        ({"search": {}}, (0.0, 10.0), None),
        ({"agents": 2}, (10.0, 10.0), None),
    ],
)
def test_mean_sessions_asked_for(
    load: dict[str, float], span: tuple[float, float], expected: float | None
) -> None:
    pacing = pacing_of(LoadConfig.model_validate(load), None, 1)
    assert asked_sessions_mean(pacing, from_s=span[0], to_s=span[1]) == (
        expected if expected is None else pytest.approx(expected)
    )
