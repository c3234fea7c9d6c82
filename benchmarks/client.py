"""What a request and a token cost this client, and how far its times are off.

    python benchmarks/client.py --mock PATH [--case NAME]...

PATH is a native mock server, or its C++ source, which is then built with g++. The client is pinned to the
first core and the mock to the last. CPU is user and system time of this process; errors are against the send
times that the mock reports itself. Every request is a whole turn: rendered, sent, read, put into a sketch and a row.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httptools
import numpy as np
import uvloop
from ddsketch import DDSketch

from swarm.config.target import TargetConfig
from swarm.context.tree import Prompt, root
from swarm.live.targets import answer as answer_module
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

TRUTHS: dict[int, dict] = {}
"""What the mock reported, by the identity of the turn's result."""


def listen_to_the_mock() -> None:
    """Let decoded usage events leave their `mock` member in TRUTHS."""
    decode, take_other = answer_module.decode, answer_module.Answer._take_other
    latest: list[dict] = []

    def decode_and_look(event: bytes) -> answer_module.Delta:
        if b'"mock":' in event:
            latest.append(json.loads(event)["mock"])
        return decode(event)

    def take_and_file(self: answer_module.Answer, delta: answer_module.Delta) -> bool:
        if latest:
            TRUTHS[id(self.result)] = latest.pop()
        return take_other(self, delta)

    answer_module.decode = decode_and_look
    answer_module.Answer._take_other = take_and_file


@dataclass
class Mock:
    """The mock server's process."""

    process: subprocess.Popen[bytes]
    url: str

    def configure(self, **settings: int) -> None:
        query = "&".join(f"{key}={value}" for key, value in settings.items())
        urllib.request.urlopen(f"{self.url}/config?{query}").read()

    def stats(self) -> dict:
        return json.loads(urllib.request.urlopen(f"{self.url}/stats").read())

    def reset(self) -> None:
        urllib.request.urlopen(f"{self.url}/reset").read()


def start_mock(path: Path) -> Mock:
    if path.suffix == ".cpp":
        binary = Path(tempfile.gettempdir()) / "swarm-mock-server"
        subprocess.run(["g++", "-O2", "-std=c++17", "-o", binary, path], check=True)
        path = binary
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([path, "--port", str(port)], stderr=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    url = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{url}/health").read()
            return Mock(process, url)
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{path} does not answer on port {port}")


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@dataclass(slots=True)
class Row:
    """As much of a request's row as a host keeps."""

    agent: str
    turn: int
    intended_s: float
    sent_s: float | None
    first_token_s: float | None
    last_token_s: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    outcome: str


class Desk:
    """Where agents put what happened."""

    def __init__(self, keep: bool) -> None:
        self.ttft = DDSketch(0.005)
        self.effective = DDSketch(0.005)
        self.tpot = DDSketch(0.005)
        self.rows: list[Row] = []
        self.results: list[TurnResult] = []
        self.keep = keep
        self.events = self.failed = self.merged = 0

    def take(self, agent: str, number: int, intended: float, result: TurnResult) -> None:
        if result.outcome != "ok":
            self.failed += 1
            if self.failed == 1:
                print("first failure:", result.outcome, result.error)
            return
        self.events += result.output_counted
        self.merged += result.merged_reads
        self.ttft.add(result.first_token_s - result.sent_s)
        self.effective.add(result.first_token_s - intended)
        if result.output_tokens > 1:
            self.tpot.add((result.last_token_s - result.first_token_s) / (result.output_tokens - 1))
        self.rows.append(
            Row(
                agent, number, intended, result.sent_s, result.first_token_s, result.last_token_s,
                result.prompt_tokens, result.cached_tokens, result.output_tokens, result.outcome,
            )
        )  # fmt: skip
        if self.keep:
            self.results.append(result)


async def agent(
    target: OpenAITarget,
    name: str,
    prompt: Prompt,
    tokens: int,
    more: Callable[[], bool],
    desk: Desk,
    start_s: float,
) -> None:
    """A closed loop: the next turn when the last one is answered."""
    if start_s:
        await asyncio.sleep(start_s)
    number = 0
    while more():
        number += 1
        intended = time.monotonic()
        turn = Turn(prompt, tokens, name, name, None, f"{name}#{number}", False)
        desk.take(name, number, intended, await target.send(turn))
        prompt = prompt.extend(20)


def new_target(mock: Mock, api: str) -> OpenAITarget:
    return OpenAITarget(config=TargetConfig(urls=(mock.url,), model="mock", api=api), seed=1)


async def burst(mock: Mock, streams: int, tokens: int, requests: int) -> str:
    """All tokens at once, `streams` agents that ask without thinking."""
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    best = None
    for _ in range(3):
        target, desk, left = new_target(mock, "completions"), Desk(False), [streams * 2]

        def more(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] >= 0

        prompts = [root("shared").extend(500).branch(f"s{k}").extend(100) for k in range(streams)]
        await asyncio.gather(
            *(agent(target, f"s{k}", prompts[k], tokens, more, desk, 0) for k in range(streams))
        )
        gc.collect()
        gc.freeze()
        left[0] = requests
        before, wall = cpu_s(), time.monotonic()
        await asyncio.gather(
            *(agent(target, f"s{k}", prompts[k], tokens, more, desk, 0) for k in range(streams))
        )
        used, wall = cpu_s() - before, time.monotonic() - wall
        await target.close()
        assert not desk.failed
        if best is None or used < best[0]:
            best = used, wall
    used, wall = best
    return (
        f"{used / requests * 1e6:7.1f} us/request  {used / requests / tokens * 1e6:6.2f} us/event  "
        f"{used / requests * 1e3:.3f} CPU s/1,000  {requests / wall:8.0f} requests/s"
    )


async def paced(mock: Mock, streams: int, seconds: float, errors: bool) -> str:
    """Streams of 20 tokens a second, always open."""
    tokens, ttft_us, itl_us = 100, 100_000, 50_000
    mock.configure(itl_us=itl_us, ttft_us=ttft_us, burst=0, stamp=int(errors))
    target, desk = new_target(mock, "completions"), Desk(errors)
    stop = time.monotonic() + 6.0 + seconds
    base = resident_bytes()
    tasks = [
        asyncio.create_task(
            agent(
                target, f"s{k}", root("shared").extend(500).branch(f"s{k}").extend(100), tokens,
                lambda: time.monotonic() < stop, desk, 5.0 * k / streams + 1e-6,
            )
        )
        for k in range(streams)
    ]  # fmt: skip
    await asyncio.sleep(6.0)
    memory = (resident_bytes() - base) / streams
    mock.reset()
    gc.collect()
    gc.freeze()
    before, wall, started = cpu_s(), time.monotonic(), mock.stats()["tokens"]
    await asyncio.sleep(seconds)
    used, wall, stats = cpu_s() - before, time.monotonic() - wall, await asyncio.to_thread(mock.stats)
    events = stats["tokens"] - started
    await asyncio.gather(*tasks)
    await target.close()
    text = (
        f"{used / events * 1e6:6.2f} us/event  {used / wall * 100:5.1f} % of a core  "
        f"{events / wall / streams:5.2f} events/s/stream  {memory / 1024:5.1f} KB/stream  failed {desk.failed}  "
        f"mock late p99 <= {stats['late_p99_us_le']} us"
    )
    if errors:
        text += "\n" + error_table(desk)
    return text


def error_table(desk: Desk) -> str:
    """Our times against the mock's."""
    ttft, itl, merged = [], [], 0
    for result in desk.results:
        truth = TRUTHS.pop(id(result), None)
        if truth is None or result.sent_s is None:
            continue
        sent = np.array(truth["sent_us"]) * 1e-6
        times = np.frombuffer(result.token_times)
        ttft.append((result.first_token_s - result.sent_s) - sent[0])
        gaps, true_gaps = np.diff(times), np.diff(sent)
        alone = np.concatenate(([False], gaps == 0, [False]))
        # A gap is whole if neither of its ends shares a read with another delta.
        exact = ~(alone[:-2] | alone[1:-1] | alone[2:]) if len(gaps) else np.zeros(0, bool)
        merged += int((~exact).sum())
        itl.append(np.abs(gaps - true_gaps)[exact])
    gaps = np.concatenate(itl)
    ttft_ms = np.abs(np.array(ttft)) * 1e3
    return (
        f"      TTFT error ms: p50 {np.percentile(ttft_ms, 50):.3f} p99 {np.percentile(ttft_ms, 99):.3f} "
        f"max {ttft_ms.max():.3f} ({len(ttft)} turns)   ITL error ms: p50 {np.percentile(gaps, 50) * 1e3:.3f} "
        f"p99 {np.percentile(gaps, 99) * 1e3:.3f} max {gaps.max() * 1e3:.3f} ({len(gaps)} gaps, {merged} merged)"
    )


async def long_prompt(mock: Mock, api: str) -> str:
    """A turn of 128k tokens of which 500 are new, one after the other."""
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    best = None
    for _ in range(5):
        target, desk, left = new_target(mock, api), Desk(False), [50]

        def more(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] >= 0

        prompt = root("shared").extend(15_000).branch("agent").extend(113_000)
        await agent(target, "s", prompt, 1, more, desk, 0)
        left[0] = 200
        before, wall = cpu_s(), time.monotonic()
        await agent(target, "s", prompt.extend(500), 1, more, desk, 0)
        used, wall = cpu_s() - before, time.monotonic() - wall
        await target.close()
        assert not desk.failed
        if best is None or used < best[0]:
            best = used, wall
    return f"{best[0] / 200 * 1e3:6.3f} ms CPU/turn  {best[1] / 200 * 1e3:6.3f} ms wall/turn"


CASES: dict[str, Callable[[Mock], Awaitable[str]]] = {
    "burst-16-64": lambda mock: burst(mock, 64, 16, 20_000),
    "burst-16-4096": lambda mock: burst(mock, 4096, 16, 40_000),
    "burst-64-64": lambda mock: burst(mock, 64, 64, 10_000),
    "burst-256-64": lambda mock: burst(mock, 64, 256, 3_000),
    "ids-128k": lambda mock: long_prompt(mock, "token_ids"),
    "chat-128k": lambda mock: long_prompt(mock, "chat"),
    "paced-64": lambda mock: paced(mock, 64, 10, True),
    "paced-512": lambda mock: paced(mock, 512, 10, True),
    "paced-2000": lambda mock: paced(mock, 2000, 10, True),
    "paced-5000": lambda mock: paced(mock, 5000, 10, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mock", type=Path, required=True)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    mock = start_mock(options.mock)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    listen_to_the_mock()
    print(
        f"Python {platform.python_version()}, uvloop {uvloop.__version__}, httptools {httptools.__version__}, "
        f"Linux {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    runner = uvloop.run if options.loop == "uvloop" else asyncio.run
    try:
        for name in options.case or CASES:
            print(f"{name:14} {runner(CASES[name](mock))}", flush=True)
    finally:
        mock.process.kill()


if __name__ == "__main__":
    main()
