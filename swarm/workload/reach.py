"""How long the requests of a workload get, as far as its configuration says, against what a target takes."""

from __future__ import annotations

import math

from swarm.config.experiment import Experiment
from swarm.config.workload import LognormalConfig, PromptSetConfig, RoundsConfig, SyntheticConfig, Workload
from swarm.errors import ConfigError
from swarm.workload.synthetic import INSTRUCTION_TOKENS

ROUND_TOKENS = 1_000
"""Of a watermark that is proposed."""
CUT_SHARE = 0.01
"""Of sessions whose first context is cut: from here on it is told."""


def check_reach(experiment: Experiment) -> None:
    """Refuse a workload whose requests are longer than its target takes, where both are known.

    Raises:
        ConfigError: With the lengths, and the key that makes them fit.
    """
    most, workload = experiment.target.context_tokens, experiment.workload
    tokens = reach_tokens(workload)
    if most is None or tokens is None or tokens <= most:
        return
    if isinstance(workload, SyntheticConfig):
        room = most - (tokens - max(workload.high_watermark, _prefix_tokens(workload)))
        room = room // ROUND_TOKENS * ROUND_TOKENS
        prefix = _prefix_tokens(workload)
        advice = (
            f"set workload.high_watermark to at most {room:,}"
            if room > prefix
            else f"tools and system prompt alone are {prefix:,}: set workload.tool_tokens, "
            "workload.system_tokens and workload.high_watermark lower"
        )
        what = f"agents compact at workload.high_watermark: {workload.high_watermark:,}, with requests of"
    else:
        advice = "set workload.prompt_tokens lower"
        what = "workload.prompt_tokens and workload.output_tokens make requests of"
        if isinstance(workload, RoundsConfig):
            advice = "set workload.rounds or workload.request_tokens lower"
            what = "workload.rounds of workload.request_tokens make requests of"
    raise ConfigError(
        f"{what} about {tokens:,} tokens; the target takes {most:,} (prompt and reply; "
        f"target.context_tokens): {advice}, or serve the model with a longer context"
    )


def reach_tokens(workload: Workload) -> int | None:
    """Return the tokens of the longest usual request, with its reply; None where only files or code say."""
    if isinstance(workload, PromptSetConfig):
        return workload.prompt_tokens + workload.output_tokens
    if isinstance(workload, RoundsConfig):
        kept_tokens = workload.output_tokens if workload.replies != "none" else 0
        asked_tokens = workload.request_tokens + kept_tokens
        return workload.shared_tokens + workload.rounds * asked_tokens - kept_tokens + workload.output_tokens
    if not isinstance(workload, SyntheticConfig):
        return None
    summary = min(workload.summary.most, max(workload.summary.least, workload.summary.median))
    return max(workload.high_watermark, _prefix_tokens(workload)) + INSTRUCTION_TOKENS + int(summary)


def cut_contexts(workload: Workload) -> list[str]:
    """Return a note where first contexts are cut to half of the watermark."""
    if not isinstance(workload, SyntheticConfig):
        return []
    half = workload.high_watermark // 2
    share = _share_above(workload.first_context, half)
    if share < CUT_SHARE:
        return []
    return [
        f"workload.first_context is cut at half of workload.high_watermark, {half:,} tokens: {share:.0%} of "
        "sessions would start with more; set a higher watermark or a shorter first context"
    ]


def _prefix_tokens(workload: SyntheticConfig) -> int:
    return workload.tool_tokens + workload.system_tokens


def _share_above(config: LognormalConfig, bound: float) -> float:
    """Return the share of a lognormal's draws above a bound; draws are cut to [least, most]."""
    if config.most <= bound:
        return 0.0
    if config.least > bound:
        return 1.0
    if config.sigma == 0 or not config.median:
        return float(config.median > bound)
    return 0.5 * math.erfc(math.log(bound / config.median) / (config.sigma * math.sqrt(2)))
