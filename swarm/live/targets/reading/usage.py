"""What a server counts: the names that servers use, and what a count may be."""

from __future__ import annotations

import math
from typing import Any

from swarm.hit_names import LOST_TO, TIERS
from swarm.live.targets.turn import TurnResult

COUNT_MAX = 2**53
"""Beyond it a count is none: JSON's numbers are not exact there, and columns of 64 bits overflow."""

PROMPT_NAMES = ("prompt_tokens", "input_tokens")
OUTPUT_NAMES = ("completion_tokens", "output_tokens", "generated_tokens")
CACHED_NAMES = (
    "cached_tokens",
    "cache_read_input_tokens",
    "num_cached_tokens",
    "prompt_cache_hit_tokens",
    "cache_read_tokens",
    "cached_prompt_tokens",
    "cached_input_tokens",
    "cached_content_token_count",
    "cache_hit_tokens",
)
"""OpenAI, vLLM, SGLang, TensorRT-LLM; Anthropic; vLLM's metrics; DeepSeek; gateways; Gemini."""
DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
"""Where they may stand; a details object without one says nothing, not 0."""


def take_usage(usage: dict[str, Any], result: TurnResult) -> None:
    """Put a usage object's counts into the result: the last one counts, and a zero erases nothing."""
    get = usage.get
    prompt = get("prompt_tokens")
    output = get("completion_tokens")
    details = get("prompt_tokens_details")
    if details.__class__ is dict and prompt is not None and output is not None:
        cached = details.get("cached_tokens")
        if (
            len(details) == 1
            and prompt.__class__ is output.__class__ is cached.__class__ is int
            and 0 < prompt <= COUNT_MAX
            and 0 < output <= COUNT_MAX
            and 0 < cached <= COUNT_MAX
        ):
            # What nearly every server says.
            result.prompt_tokens, result.output_tokens, result.cached_tokens = prompt, output, cached
            return
        if cached is None:
            cached = _first(details, CACHED_NAMES)
        take_told_apart(details, result)
        if not cached:
            cached = _elsewhere(usage, cached)
    else:
        prompt = _prompt(usage)
        output = _first(usage, OUTPUT_NAMES)
        cached = _elsewhere(usage, None)
    put(result, prompt, output, cached)


def take_told_apart(details: dict[str, Any], result: TurnResult) -> None:
    """Put into the result what an emulated fleet tells beyond real servers: hits by tier, losses by cause."""
    if "cached_tokens_by_tier" in details or "lost_tokens_by_cause" in details:
        result.by_tier = _counts(details, "cached_tokens_by_tier", len(TIERS)) or result.by_tier
        result.lost_to = _counts(details, "lost_tokens_by_cause", len(LOST_TO)) or result.lost_to


def put(result: TurnResult, prompt: object, output: object, cached: object) -> None:
    """Put counts into the result; None is no statement."""
    if prompt is not None and ((count := count_of(prompt, result)) or result.prompt_tokens is None):
        result.prompt_tokens = count
    if output is not None and ((count := count_of(output, result)) or result.output_tokens is None):
        result.output_tokens = count
    if cached is not None and ((count := count_of(cached, result)) or result.cached_tokens is None):
        result.cached_tokens = count


def _prompt(usage: dict[str, Any]) -> object:
    """Return the prompt's count; Anthropic's leaves out what was read from, or written to, a cache."""
    prompt = usage.get("prompt_tokens")
    if prompt is not None:
        return prompt
    prompt = usage.get("input_tokens")
    parts = [usage.get(name) for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
    known = [part for part in parts if type(part) is int]
    if type(prompt) is not int or not known:
        return prompt
    output, total = usage.get("output_tokens"), usage.get("total_tokens")
    if type(output) is int and total == prompt + output:
        return prompt
    return prompt + sum(known)


def _elsewhere(usage: dict[str, Any], found: object) -> object:
    """Return the first count of cached tokens above 0, else a zero that is stated, else None."""
    for place in (usage, *(usage.get(name) for name in DETAILS)):
        if isinstance(place, dict):
            for name in CACHED_NAMES:
                value = place.get(name)
                if value:
                    return value
                if value is not None:
                    found = value
    return found


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> object:
    return next((value for name in names if (value := usage.get(name)) is not None), None)


def count_of(value: object, result: TurnResult) -> int | None:
    """Return a count; None, with a doubt in the result, where it cannot be one. Raises ValueError."""
    if type(value) is int:
        if 0 <= value <= COUNT_MAX:
            return value
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)
    else:
        number = float(value)  # Some servers write 12.0, or "12".
        if math.isfinite(number) and number == int(number) and 0 <= number <= COUNT_MAX:
            return int(number)
    result.doubt("beyond")
    return None


def _counts(details: dict[str, Any], name: str, length: int) -> tuple[int, ...] | None:
    found = details.get(name)
    if not found:
        return None
    counts = tuple(map(int, found))
    if len(counts) != length:
        raise ValueError(found)
    return counts if all(abs(count) <= COUNT_MAX for count in counts) else None


def hold_against(result: TurnResult, planned_prompt: int, planned_output: int) -> None:
    """Make those counts unknown that what was sent and what arrived prove wrong."""
    prompt, cached, output = result.prompt_tokens, result.cached_tokens, result.output_tokens
    if prompt is not None and not (
        planned_prompt <= prompt * TOKENS_RATIO_MAX
        and prompt <= planned_prompt * TOKENS_RATIO_MAX + TOKENS_ADDED_MAX
    ):
        result.doubt("prompt")
        result.prompt_tokens = prompt = None
    if cached is not None and cached > (planned_prompt if prompt is None else prompt):
        result.doubt("cached")
        result.cached_tokens = cached = None
    if result.by_tier is not None and (
        cached is None or min(result.by_tier) < 0 or sum(result.by_tier) > cached
    ):
        result.by_tier = result.lost_to = None
    if output is None:
        result.output_tokens = result.output_counted or None
    elif (
        output < result.output_counted > 0 == output
        or output > max(planned_output, result.output_counted) * TOKENS_RATIO_MAX + TOKENS_ADDED_MAX
    ):
        result.doubt("output")
        result.output_tokens = result.output_counted or None


TOKENS_RATIO_MAX = 64
"""A vocabulary's tokens are not this many times longer or shorter than planned ones."""
TOKENS_ADDED_MAX = 1 << 16
"""What servers put around a prompt, and hidden reasoning, is shorter."""
