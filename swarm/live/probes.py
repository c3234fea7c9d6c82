"""Probes of an idle server: a few prompts, and how long each took."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from statistics import median
from typing import Any

from swarm.config.target import TargetConfig
from swarm.context.tree import Node, Prompt
from swarm.errors import RunError
from swarm.fleet.cost.calibration import Calibration, DecodeProbe, PrefillProbe, calibrate
from swarm.live.targets.control import resolve
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

PREFILL_TOKENS = (256, 1_024, 4_096, 16_384)
PREFILL_REPEATS = 3
CACHED_TOKENS = (517, 1_211, 2_309)
"""Odd lengths: their hits differ by what blocks round off."""
DECODES = ((1, 64), (1, 8_192), (4, 64), (16, 64), (8, 4_096))
"""Batches and prompt lengths: enough to tell base, sequences and context apart."""
DECODE_TOKENS = 64
DECODE_REPEATS = 2


async def probe(config: TargetConfig) -> tuple[Calibration, str]:
    """Return what a server's answers to the probes say, and the name of its model."""
    config = await resolve(config)
    target = OpenAITarget(config=config, seed=1)
    probes = Probes(target)
    try:
        await probes.warm_up()
        prefills = [probe async for probe in probes.prefills()]
        cached = [tokens async for tokens in probes.cached()]
        decodes = [probe async for probe in probes.decodes()]
    finally:
        await target.close()
    return calibrate(_typical(prefills), decodes, cached), config.model or ""


class Probes:
    """Sends prompts that nobody has sent before, and gathers what they took."""

    def __init__(self, target: OpenAITarget) -> None:
        self._target = target
        self._count = 0

    async def warm_up(self) -> None:
        """Open a connection, and let the server do what it does only once."""
        for _ in range(2):
            await self._send(self._prompt(64), 2)

    async def prefills(self) -> Any:
        """Yield one prompt at a time."""
        for tokens in PREFILL_TOKENS:
            for _ in range(PREFILL_REPEATS):
                result = await self._send(self._prompt(tokens), 2)
                computed = (result.prompt_tokens or tokens) - (result.cached_tokens or 0)
                yield PrefillProbe(computed, _ttft_s(result))
            _say(f"prefill of {tokens} tokens: {_ttft_s(result) * 1e3:.1f} ms")

    async def cached(self) -> Any:
        """Yield what a prompt's second sending hits."""
        for tokens in CACHED_TOKENS:
            prompt = self._prompt(tokens)
            await self._send(prompt, 2)
            result = await self._send(prompt, 2)
            yield result.cached_tokens or 0

    async def decodes(self) -> Any:
        """Yield batches that decode at the same time; their prompts are computed before."""
        for batch, tokens in DECODES:
            for _ in range(DECODE_REPEATS):
                prompts = [self._prompt(tokens) for _ in range(batch)]
                # The prefixes are cached now, so that the batch starts together.
                for prompt in prompts:
                    await self._send(prompt, 2)
                results = await asyncio.gather(*(self._send(prompt, DECODE_TOKENS) for prompt in prompts))
                yield _together(results, tokens)
            _say(f"{batch} decoding after {tokens} tokens each")

    def _prompt(self, tokens: int) -> Prompt:
        self._count += 1
        return Prompt(Node(f"calibration/{self._count}"), tokens)

    async def _send(self, prompt: Prompt, output_tokens: int) -> TurnResult:
        name = prompt.node.name
        result = await self._target.send(
            Turn(
                prompt=prompt,
                output_tokens=output_tokens,
                agent=name,
                session=name,
                parent=None,
                request_id=name,
                keep_reply=False,
            )
        )
        if result.outcome != "ok":
            raise RunError(
                f"calibrate: a probe of {prompt.length} tokens failed: {result.outcome}: {result.error}"
            )
        return result


def _ttft_s(result: TurnResult) -> float:
    if result.first_token_s is None or result.sent_s is None:
        raise RunError("calibrate: the server sent no token; does it stream?")
    return result.first_token_s - result.sent_s


def _together(results: Iterable[TurnResult], tokens: int) -> DecodeProbe:
    """Return a batch's pace: the median of its members, over the tokens that they held on average."""
    paces, contexts = [], 0.0
    for result in results:
        count = result.output_tokens or result.output_counted
        if count < 2 or result.last_token_s is None or result.first_token_s is None:
            raise RunError(
                f"calibrate: {DECODE_TOKENS} tokens were asked for, {count} came; set exact_output"
            )
        paces.append((result.last_token_s - result.first_token_s) / (count - 1))
        contexts += (result.prompt_tokens or tokens) + count / 2
    return DecodeProbe(len(paces), contexts, median(paces))


def _typical(probes: list[PrefillProbe]) -> list[PrefillProbe]:
    """Return the median of each length's repeats: one slow answer is not a rate."""
    groups = [probes[at : at + PREFILL_REPEATS] for at in range(0, len(probes), PREFILL_REPEATS)]
    return [sorted(group, key=lambda probe: probe.ttft_s)[len(group) // 2] for group in groups]


def _say(text: str) -> None:
    print(f"calibrate: {text}", file=sys.stderr)
