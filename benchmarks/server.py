"""What the emulated provider costs: CPU of its process by request and by token, and how late tokens are.

    python benchmarks/server.py [--quick]

The server runs as a process of its own (`swarm serve`); its CPU time is read from /proc, so what the client
costs is not in the figures. Chats and tokens are also measured against `sending_floor.py`, a loop that only
sends, in turn with the server: their ratio says more than microseconds of one machine. Every case is run
three times, and the median is printed with the least and the most; `waited` is the share of the time in
which the server was ready and had no core: a few percent at most on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

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
T = TypeVar("T")


class Served:
    """A server process: ours, or the loop that only sends."""

    def __init__(self, step_s: float, *, is_floor: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "fleet.yaml"
        file.write_text(FLEET.format(step_s=step_s))
        ours = ["-c", "from swarm.cli import main; main()", "serve", str(file), "--port", "0"]
        floor = [str(Path(__file__).with_name("sending_floor.py")), str(step_s)]
        self._process = subprocess.Popen(
            [sys.executable, *(floor if is_floor else ours)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def cpu_s(self) -> float:
        return self._scheduled_s(0)

    def waited_s(self) -> float:
        """How long it was ready and had no core: beyond a few percent the machine was not quiet."""
        return self._scheduled_s(1)

    def _scheduled_s(self, field: int) -> float:
        """Return what the kernel says of all its threads, to the nanosecond; `stat` has ticks of 10 ms."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[field]) for task in tasks) / 1e9

    def rss_mb(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


@dataclass(frozen=True)
class Found:
    """What one piece of work cost a server."""

    cpu_us: float
    """For each request, or token."""
    waited_share: float
    gap_p50_s: float = 0.0
    gap_p99_s: float = 0.0


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


def requests_cost(served: Served, api: str, tokens: int, count: int) -> Found:
    """Return what each of an agent's turns costs."""
    return measured(served, lambda: turns(served.url, api, tokens, count), count)[0]


def tokens_cost(served: Served, count: int, tokens: int) -> Found:
    """Return what each token of so many streams costs, and how far gaps are from a step."""
    found, results = measured(served, lambda: streams(served.url, count, tokens), count * tokens)
    # As the client's kernel stamped them, so that a client that is late itself tells nothing wrong.
    errors = sorted(
        abs(later - earlier - STEP_S)
        for result in results
        for earlier, later in zip(result.token_times, result.token_times[1:], strict=False)
    )
    middle, high = errors[len(errors) // 2], errors[int(len(errors) * 0.99)]
    return replace(found, gap_p50_s=middle, gap_p99_s=high)


def measured(served: Served, work: Callable[[], Awaitable[T]], per: int) -> tuple[Found, T]:
    async def as_coroutine() -> T:
        return await work()

    before, waited_s, began_s = served.cpu_s(), served.waited_s(), time.monotonic()
    done = uvloop.run(as_coroutine())
    took_s = time.monotonic() - began_s
    used = (served.cpu_s() - before) / per * 1e6
    return Found(used, (served.waited_s() - waited_s) / took_s), done


def both(step_s: float, times: int, work: Callable[[Served], Found]) -> tuple[list[Found], list[Found]]:
    """Do the same to our server and to the loop that only sends, in turn."""
    ours, floor = Served(step_s), Served(step_s, is_floor=True)
    try:
        pairs = [(work(ours), work(floor)) for _ in range(times)]
    finally:
        ours.close()
        floor.close()
    return [each for each, _ in pairs], [each for _, each in pairs]


def told(name: str, ours: list[Found], floor: list[Found]) -> str:
    """Return a line: microseconds of CPU, the least and the most; those of the floor; the ratio."""
    used, least = ([each.cpu_us for each in found] for found in (ours, floor))
    middle, beside = statistics.median(used), statistics.median(least)
    waited = max(each.waited_share for each in ours)
    line = f"{middle:8.1f} us ({min(used):.1f}-{max(used):.1f})"
    return f"{name:38} {line}   floor {beside:7.1f} us   {middle / beside:5.2f} x   waited {waited:4.0%}"


def gaps(ours: list[Found], floor: list[Found]) -> str:
    """Return a line on how far gaps between tokens are off, in ms."""
    parts = []
    for name in ("gap_p50_s", "gap_p99_s"):
        found, beside = (
            statistics.median(getattr(each, name) for each in many) * 1e3 for many in (ours, floor)
        )
        parts.append(f"{name[4:7]} {found:.2f} ms (floor {beside:.2f}, {found / max(beside, 1e-6):.2f} x)")
    return " " * 39 + "gaps off by " + ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="once each, and less of it")
    quick = parser.parse_args().quick
    times, count = (1, 200) if quick else (3, 600)
    load = os.getloadavg()[0]
    print(
        f"{os.cpu_count()} cores, load {load:.1f} before it; CPU of the server's process; {times} run(s) each"
    )
    served = Served(step_s=1e-6)
    for api in ("completions", "token_ids"):
        for tokens in (500, 131_072):
            found = [requests_cost(served, api, tokens, few(count, tokens)) for _ in range(times)]
            used = [each.cpu_us for each in found]
            line = f"{statistics.median(used):8.1f} us ({min(used):.1f}-{max(used):.1f})"
            print(f"request, {api}, {tokens} tokens".ljust(38), line, flush=True)
    print(f"resident after that: {served.rss_mb():.0f} MB")
    served.close()
    for tokens in (500, 32_768, 131_072):
        many = few(count, tokens)
        pair = both(1e-6, times, partial(requests_cost, api="chat", tokens=tokens, count=many))
        print(told(f"request, chat, {tokens} tokens", *pair), flush=True)
    tokens = 60 if quick else 100
    for many in (64, 512, 2_000):
        pair = both(STEP_S, times, partial(tokens_cost, count=many, tokens=tokens))
        print(told(f"token, {many} streams at {1 / STEP_S:.0f}/s", *pair), gaps(*pair), sep="\n", flush=True)


def few(count: int, tokens: int) -> int:
    return count if tokens < 100_000 else count // 4


if __name__ == "__main__":
    main()
