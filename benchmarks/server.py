"""What the emulated provider costs: CPU of its process by request and by token, and how late tokens are.

    python benchmarks/server.py [--quick]

The server runs as a process of its own (`swarm serve`); its CPU time is read from /proc, so what the client
costs is not in the figures. One line for each case; every case is run three times, and the median is printed
with the least and the most.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from swarm.config.target import TargetConfig
from swarm.context.tree import Prompt, root
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

FLEET = """
name: bench
cost: {{kind: simple, prefill_tokens_per_s: 1.0e+12, decode_base_s: {step_s}, kv_capacity_tokens: 1000000000}}
replicas: [{{max_batched_tokens: 10000000, max_sequences: 100000}}]
"""
STEP_S = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


class Served:
    """A server process."""

    def __init__(self, step_s: float) -> None:
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "fleet.yaml"
        file.write_text(FLEET.format(step_s=step_s))
        command = [sys.executable, "-c", "from swarm.cli import main; main()", "serve", str(file)]
        self._process = subprocess.Popen(
            [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def turn(name: str, prompt: Prompt, tokens: int) -> Turn:
    return Turn(
        prompt=prompt,
        output_tokens=tokens,
        agent=name,
        session=name,
        parent=None,
        request_id=name,
        keep_reply=False,
    )


async def turns(url: str, api: str, tokens: int, count: int) -> None:
    """Send one agent's turns, each 16 tokens longer, with a reply of one token."""
    config = TargetConfig(urls=(url,), model="bench", api=api, bytes_per_token=4.0)
    target = OpenAITarget(config=config, seed=1)
    prompt = root(f"{api}/{tokens}/{os.urandom(8).hex()}").extend(tokens)
    for number in range(count):
        prompt = prompt.extend(16)
        result = await target.send(turn(f"t{number}", prompt, 1))
        assert result.outcome == "ok", result
    await target.close()


async def streams(url: str, count: int, tokens: int) -> list[TurnResult]:
    """Hold `count` streams at once."""
    target = OpenAITarget(config=TargetConfig(urls=(url,), model="bench", bytes_per_token=4.0), seed=1)
    prompts = [root(f"s{number}/{os.urandom(8).hex()}").extend(64) for number in range(count)]
    sends = [target.send(turn(f"s{at}", prompt, tokens)) for at, prompt in enumerate(prompts)]
    results = await asyncio.gather(*sends)
    await target.close()
    return list(results)


def cost(served: Served, work: Callable[[], Awaitable[object]], times: int, per: int) -> str:
    """Return the CPU microseconds of the server for each of `per` parts of some work."""
    found = []
    for _ in range(times):
        before = served.cpu_s()
        uvloop.run(_as_coroutine(work))
        found.append((served.cpu_s() - before) / per * 1e6)
    return f"{statistics.median(found):8.1f} us  ({min(found):.1f}-{max(found):.1f})"


async def _as_coroutine(work: Callable[[], Awaitable[object]]) -> Any:
    return await work()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    times, count = (1, 200) if quick else (3, 600)
    served = Served(step_s=1e-6)
    for api in ("chat", "completions", "token_ids"):
        for tokens in (500, 32_768, 131_072):
            many = count if tokens < 100_000 else count // 4

            def work(api: str = api, tokens: int = tokens, many: int = many) -> Awaitable[object]:
                return turns(served.url, api, tokens, many)

            line = cost(served, work, times, many)
            print(f"request, {api}, {tokens} tokens".ljust(44), line, flush=True)
    print(f"resident after that: {served.rss_mb():.0f} MB")
    served.close()
    tokens = 60 if quick else 100
    for many in (64, 512, 2_000):
        served = Served(step_s=STEP_S)

        def hold(served: Served = served, many: int = many) -> Awaitable[list[TurnResult]]:
            return streams(served.url, many, tokens)

        line = cost(served, hold, times, many * tokens)
        gaps = late(uvloop.run(_as_coroutine(hold)))
        print(f"token event, {many} streams at {1 / STEP_S:.0f}/s".ljust(44), line, gaps, flush=True)
        served.close()


def late(results: list[TurnResult]) -> str:
    """Return how far gaps between tokens are from a step, as the client's kernel stamped them."""
    errors = sorted(
        abs(later - earlier - STEP_S)
        for result in results
        for earlier, later in zip(result.token_times, result.token_times[1:], strict=False)
    )
    middle, high = errors[len(errors) // 2], errors[int(len(errors) * 0.99)]
    return f"gap error p50 {middle * 1e3:.2f} ms, p99 {high * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
