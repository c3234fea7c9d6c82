"""What of a workload is not played as it was recorded or stated, in words."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.config.experiment import Experiment
from swarm.config.load import RecordedShape
from swarm.config.workload import ReplayConfig
from swarm.fleet.context_length import max_model_len
from swarm.units import counted
from swarm.workload.reach import cut_contexts
from swarm.workload.script import SessionScript


def unplayed(experiment: Experiment, scripts: Sequence[SessionScript]) -> list[str]:
    """Return a note for each kind of thing that is not played as recorded or stated."""
    workload = experiment.workload
    if not isinstance(workload, ReplayConfig) or not scripts:
        return cut_contexts(workload)
    return [*_arrivals(experiment, scripts, workload.time_scale), *_too_long(experiment, scripts)]


def _arrivals(experiment: Experiment, scripts: Sequence[SessionScript], scale: float) -> list[str]:
    starts_s = [script.start_s for script in scripts]
    first_s = min(starts_s)
    span_s = max(starts_s) - first_s
    if not span_s:
        return []
    if not isinstance(experiment.load.shape, RecordedShape):
        return [
            f"arrival times are not played: the {counted(len(scripts), 'session')} were recorded to start "
            f"over {span_s:,.6g} s, and here start as load says; load.shape: {{kind: recorded}} plays them"
        ]
    until_s = experiment.load.duration_s
    late = 0 if until_s is None else sum((start_s - first_s) * scale > until_s for start_s in starts_s)
    if not late:
        return []
    return [
        f"{late:,} of {counted(len(scripts), 'recorded session')} would arrive after load.duration_s: "
        f"{until_s:g} and are not played"
    ]


def _too_long(experiment: Experiment, scripts: Sequence[SessionScript]) -> list[str]:
    """Tell of requests that the target refuses, where it is known what it takes."""
    most, key = experiment.target.context_tokens, "target.context_tokens"
    if not experiment.target.urls:
        most, key = max_model_len(experiment.fleet), "fleet.max_model_len"
    if most is None:
        return []
    lengths = [
        turn.length + turn.output for script in scripts for each in script.agents for turn in each.turns
    ]
    longer = sum(length > most for length in lengths)
    if not longer:
        return []
    return [
        f"{longer:,} of {len(lengths):,} recorded requests are longer than {key}: {most:,}: they are sent "
        f"whole and refused, not cut to fit; workload.context_max: {most} leaves such sessions out, "
        "workload.context_scale shortens all"
    ]
