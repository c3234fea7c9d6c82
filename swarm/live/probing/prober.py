"""Sends prompts that nobody has sent before, alone or together, and sees whether this process kept up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from swarm.context.tree import Node, Prompt
from swarm.errors import RunError
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

LATE_SHARE = 0.1
"""Of a probe's time that received bytes may have waited for this process."""
TRIES = 3
"""Of a probe that this process was too late for, or whose reply showed no text."""
REPLY_TOKENS = 4
"""A character has up to four bytes, which may be a token each: so many show some text."""
TTFT_S_LEAST = 1e-6
"""The clock tells no less."""


class Prober:
    """Sends turns of a calibration; prompts are named by number, so that none is sent twice by accident."""

    def __init__(self, target: OpenAITarget, *, pause_s: float) -> None:
        self._target = target
        self._pause_s = pause_s
        self._count = 0
        self.late = 0
        """Probes that this process was too late for."""
        self.sent = 0
        self.deltas = 0
        self.merged = 0
        """Reads that held several deltas."""
        self.cached_seen = False

    def fresh(self, tokens: int) -> Prompt:
        """Return a prompt of its own."""
        self._count += 1
        return Prompt(Node(f"calibration/{self._count}"), tokens)

    def behind(self, prompt: Prompt, tokens: int) -> Prompt:
        """Return a prompt that starts like another, with tokens of its own behind it."""
        self._count += 1
        return prompt.branch(f"calibration/{self._count}").extend(tokens)

    async def pause(self) -> None:
        """Let the server idle, as it does while agents think."""
        await asyncio.sleep(self._pause_s)

    async def send(self, prompt: Prompt, output_tokens: int) -> TurnResult:
        """Send one prompt. Raises RunError, with the server's words, where it fails."""
        self.sent += 1
        name = prompt.node.name
        turn = Turn(
            prompt=prompt,
            output_tokens=output_tokens,
            agent=name,
            session=name,
            parent=None,
            request_id=f"{name}/{self.sent}",
            keep_reply=False,
        )
        result = await self._target.send(turn)
        if result.outcome != "ok":
            raise RunError(
                f"calibrate: a probe of {prompt.length:,} tokens failed: {result.outcome}: {result.error}"
            )
        self.deltas += len(result.token_times)
        self.merged += result.merged_reads
        self.cached_seen = self.cached_seen or bool(result.cached_tokens)
        return result

    async def together(self, prompts: Sequence[Prompt], output_tokens: int) -> list[TurnResult]:
        """Send prompts at once."""
        return list(await asyncio.gather(*(self.send(prompt, output_tokens) for prompt in prompts)))

    def was_late(self, results: Sequence[TurnResult], seconds: float) -> bool:
        """Return whether bytes waited for this process for a notable part of what is measured; count it."""
        late = max(result.read_lag_s for result in results) > LATE_SHARE * seconds
        self.late += late
        return late


def ttft_s(result: TurnResult) -> float:
    """Return a probe's time to the first token, from when the kernel had taken its last byte.

    What this process takes to hand a prompt over is not the server's. A server on another core may answer
    before this process is back from handing over: then it is from when that began.
    """
    if result.first_token_s is None or result.sent_s is None:
        raise RunError("calibrate: the server sent no token; does it stream?")
    begun_s = result.written_s
    if begun_s is None or begun_s > result.first_token_s:
        begun_s = result.sent_s
    return max(TTFT_S_LEAST, result.first_token_s - begun_s)
