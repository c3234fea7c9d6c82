"""CPU and memory of `swarm analyze` on agents' own logs: a synthetic corpus of a given size.

    python benchmarks/logs.py [--mb 200] [--kind claude_code] [--kind codex] [--profile]

Lines are as those tools write them: a request of Claude Code is some lines of replies, progress and a tool's
result that stands there twice; one of Codex has its items, the tool's output and a doubled count. Prints user
and system seconds a gigabyte, the peak of memory, and beside them the seconds of reading the same files with
orjson alone, line by line.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

WORDS = 'def read(path):\n    return [line for line in path]  # a "quoted" word, é, a tab\there\n'
SWARM = [sys.executable, "-m", "swarm"]
READ = (
    "import orjson,sys,pathlib\n"
    "for file in sorted(pathlib.Path(sys.argv[1]).rglob('*.jsonl')):\n"
    "    for line in file.open('rb'):\n"
    "        orjson.loads(line)\n"
)
SESSION_REQUESTS = 120
BEGUN_S = 1_772_359_200.0


def iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def words(chance: random.Random, most: int) -> str:
    count = chance.randint(100, most)
    return (WORDS * (count // len(WORDS) + 1))[:count]


def claude_code(session: int) -> tuple[str, Iterator[dict[str, Any]]]:
    """Return a session's file and its lines."""
    name = f"{session:08x}-0000-4000-8000-000000000000"
    return f"-home-me-{session % 7}/{name}.jsonl", _claude_lines(name, random.Random(session), session)


def _claude_lines(name: str, chance: random.Random, session: int) -> Iterator[dict[str, Any]]:
    at_s, held, before = BEGUN_S + 600 * session, 21_000, None
    base = {"isSidechain": False, "userType": "external", "cwd": "/home/me/project", "sessionId": name}
    base |= {"version": "2.1.157", "gitBranch": "main"}
    for number in range(SESSION_REQUESTS):
        user, reply, call = (f"{session:08x}-{number:04x}-{kind}" for kind in ("user", "text", "tool"))
        result = words(chance, 8_000)
        said: Any = [{"tool_use_id": f"t{number - 1}", "type": "tool_result", "content": result}]
        line = {"parentUuid": before, **base, "type": "user", "uuid": user, "timestamp": iso(at_s)}
        line["message"] = {"role": "user", "content": said if number else result}
        if number:
            line["toolUseResult"] = {"stdout": result, "stderr": "", "interrupted": False}
        yield line
        written, output = chance.randint(200, 4_000), chance.randint(50, 900)
        split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": written}
        usage: dict[str, Any] = {"input_tokens": 3}
        usage |= {"cache_read_input_tokens": held, "cache_creation_input_tokens": written}
        usage |= {"cache_creation": split, "output_tokens": output, "service_tier": "standard"}
        held += written
        message = {"model": "claude", "id": f"msg_{session}_{number}", "type": "message", "role": "assistant"}
        blocks: list[dict[str, Any]] = [
            {"type": "text", "text": words(chance, 1_200)},
            {
                "type": "tool_use",
                "id": f"t{number}",
                "name": "Bash",
                "input": {"command": words(chance, 600)},
            },
        ]
        for step, (own, parent, block) in enumerate(zip((reply, call), (user, reply), blocks, strict=True)):
            body = {**message, "content": [block], "stop_reason": "tool_use", "usage": usage}
            line = {"parentUuid": parent, **base, "message": body, "requestId": f"req_{session}_{number}"}
            yield {**line, "type": "assistant", "uuid": own, "timestamp": iso(at_s + 3 + step)}
        for step in range(3):
            data = {"type": "bash_progress", "output": words(chance, 800), "elapsedTimeSeconds": step}
            line = {"parentUuid": call, **base, "type": "progress", "data": data, "toolUseID": f"t{number}"}
            yield {**line, "uuid": f"{call}-{step}", "timestamp": iso(at_s + 5 + step)}
        before, at_s = call, at_s + chance.uniform(9, 40)


def codex(session: int) -> tuple[str, Iterator[dict[str, Any]]]:
    """Return a session's file and its lines."""
    name = f"{session:08x}-0000-7000-8000-000000000000"
    return f"2026/03/{session % 28 + 1:02d}/rollout-{name}.jsonl", _codex_lines(
        name, random.Random(session), session
    )


def _codex_lines(name: str, chance: random.Random, session: int) -> Iterator[dict[str, Any]]:
    at_s, length = BEGUN_S + 600 * session, 9_000
    names = (
        "input_tokens",
        "cached_input_tokens",
        "output_tokens",
        "reasoning_output_tokens",
        "total_tokens",
    )
    sums = dict.fromkeys(names, 0)

    def line(kind: str, payload: dict[str, Any], after_s: float) -> dict[str, Any]:
        return {"timestamp": iso(at_s + after_s), "type": kind, "payload": payload}

    yield line("session_meta", {"id": name, "cwd": "/home/me", "instructions": words(chance, 15_000)}, 0)
    yield line("turn_context", {"model": "gpt", "cwd": "/home/me", "summary": "auto"}, 0)
    yield line("event_msg", {"type": "user_message", "message": words(chance, 900)}, 0)
    cached = 3_456
    for number in range(SESSION_REQUESTS):
        output = chance.randint(40, 600)
        call = f"call_{number}"
        hidden = words(chance, 2_500)
        yield line("response_item", {"type": "reasoning", "summary": [], "encrypted_content": hidden}, 2)
        asked = json.dumps({"cmd": words(chance, 600)})
        tool = {"type": "function_call", "name": "exec_command", "arguments": asked, "call_id": call}
        yield line("response_item", tool, 3)
        last = dict(zip(names, (length, cached, output, 0, length + output), strict=True))
        sums = {key: sums[key] + last[key] for key in names}
        info = {"total_token_usage": sums, "last_token_usage": last, "model_context_window": 272_000}
        count = {"type": "token_count", "info": info, "rate_limits": None}
        yield line("event_msg", count, 3.1)
        result = {"type": "function_call_output", "call_id": call, "output": words(chance, 9_000)}
        yield line("response_item", result, 4)
        yield line("event_msg", count, 5)
        cached, length = (length + output) // 128 * 128, length + output + chance.randint(50, 2_000)
        at_s += chance.uniform(6, 30)


KINDS: dict[str, Callable[[int], tuple[str, Iterator[dict[str, Any]]]]] = {
    "claude_code": claude_code,
    "codex": codex,
}


def write(folder: Path, kind: str, size: int) -> int:
    """Write sessions until they have `size` bytes; return how many bytes."""
    session = written = 0
    while written < size:
        name, lines = KINDS[kind](session)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        path.write_bytes(content)
        session, written = session + 1, written + len(content)
    return written


def cpu_s(command: list[str]) -> tuple[float, float]:
    """Return the user and system seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    asked.add_argument("--mb", type=float, default=200.0)
    asked.add_argument("--kind", action="append", choices=[*KINDS])
    asked.add_argument(
        "--profile", action="store_true", help="run under cProfile instead, and print what is hot"
    )
    given = asked.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}")
    for kind in given.kind or KINDS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / kind
            gb = write(folder, kind, int(given.mb * 1e6)) / 1e9
            target = str(Path(scratch) / "result.json")
            if given.profile:
                profiled = [sys.executable, "-m", "cProfile", "-s", "tottime", "-m", "swarm"]
                subprocess.run([*profiled, "analyze", str(folder), "--json", target], check=True)
                continue
            user_s, system_s = cpu_s([*SWARM, "analyze", str(folder), "--json", target])
            # The most of all children so far: it grows with the kinds, and the first kind's is its own.
            peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            read_s = sum(cpu_s([sys.executable, "-c", READ, str(folder)]))
            found = json.loads(Path(target).read_bytes())
            print(
                f"{kind}: {1000 * gb:.0f} MB, {found['sessions']} sessions, {found['requests']} requests: "
                f"{user_s / gb:.1f} s user and {system_s / gb:.1f} s system a GB "
                f"(orjson alone {read_s / gb:.1f}), peak {peak_mb:.0f} MiB"
            )


if __name__ == "__main__":
    main()
