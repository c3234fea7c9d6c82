"""The same work by this client and by its peers, one core each, as ratios in one run.

    python benchmarks/peers.py --mock PATH [--venvs FOLDER] [--requests 1000] [--streams 64] [--tokens 64]

A peer takes part where its command is: FOLDER/NAME/bin/NAME, or on the PATH; those that are missing are
named at the end. Each one keeps `streams` requests open against the native mock server, which gives all
tokens of a reply at once. Every client is pinned to the first core and the mock to the last, so modes with
several processes are at their worst. CPU is user and system time of the command and its children, the making
of its prompts included; from two lengths of run only the difference counts, so that what a start costs does
not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from client import Mock, refuse, start_mock
from installed import find, how_to_install

try:
    from tokenizers import Tokenizer, models, pre_tokenizers
except ImportError:
    refuse("peers.py: its peers count prompts by tokenizers, which is not installed: pip install tokenizers")

PROMPT_TOKENS = 600
OURS_TIMES = 20
"""So many more requests are sent by this client, whose time would else be too short to measure."""
VOCABULARY = 8192


@dataclass(frozen=True)
class Work:
    """What every client does."""

    mock: Mock
    streams: int
    tokens: int
    tokenizer: Path
    scratch: Path


def swarm(_: str, work: Work, requests: int) -> list[str]:
    """This client's whole hot path, without Ray."""
    code = (
        "import uvloop, client\n"
        f"uvloop.run(client.work({work.mock.url!r}, {work.streams}, {work.tokens}, {requests}))\n"
    )
    return [sys.executable, "-c", code]


def vllm(command: str, work: Work, requests: int) -> list[str]:
    """`vllm bench serve` on random prompts."""
    return [
        command, "bench", "serve", "--backend", "openai", "--base-url", work.mock.url,
        "--endpoint", "/v1/completions", "--model", "mock", "--tokenizer", str(work.tokenizer),
        "--dataset-name", "random", "--random-input-len", str(PROMPT_TOKENS),
        "--random-output-len", str(work.tokens), "--num-prompts", str(requests),
        "--max-concurrency", str(work.streams), "--disable-tqdm", "--ignore-eos",
    ]  # fmt: skip


def aiperf(command: str, work: Work, requests: int) -> list[str]:
    """`aiperf profile` on synthetic prompts."""
    return [
        command, "profile", "--model", "mock", "--url", work.mock.url, "--endpoint-type", "completions",
        "--streaming", "--tokenizer", str(work.tokenizer), "--concurrency", str(work.streams),
        "--request-count", str(requests), "--isl", str(PROMPT_TOKENS), "--osl", str(work.tokens),
        "--ui", "none", "--artifact-dir", str(work.scratch / "aiperf"),
    ]  # fmt: skip


def guidellm(command: str, work: Work, requests: int) -> list[str]:
    """`guidellm benchmark` with a fixed number of streams."""
    return [
        command, "run", "--backend", f"kind=openai_http,target={work.mock.url},model=mock",
        "--profile", f"kind=concurrent,streams={work.streams}",
        "--constraint", f"kind=max_requests,count={requests}",
        "--tokenizer", f"kind=huggingface_auto,model={work.tokenizer}",
        "--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={work.tokens}",
        "--output", f"kind=json,path={work.scratch / 'guidellm.json'}", "--disable-console",
    ]  # fmt: skip


PEERS: dict[str, Callable[[str, Work, int], list[str]]] = {
    "swarm": swarm,
    "vllm": vllm,
    "aiperf": aiperf,
    "guidellm": guidellm,
}


def write_tokenizer(folder: Path) -> Path:
    """Write a tokenizer of words in the form that peers load; nothing is fetched."""
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    words = special + [f"w{number}" for number in range(len(special), VOCABULARY)]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "model_max_length": 1 << 17,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": VOCABULARY}))
    return folder


def cpu_s(command: list[str], log: Path) -> float:
    """Return the CPU seconds of a command on the first core, its children's included."""

    def children_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = children_s()
    with log.open("ab") as out:
        subprocess.run(
            ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command],
            check=True,
            stdout=out,
            stderr=out,
            cwd=Path(__file__).parent,
        )
    return children_s() - before


def served(mock: Mock) -> int:
    """Return how many requests the mock has answered."""
    return int(mock.stats()["requests"])


def measure(name: str, command: str, work: Work, requests: int) -> tuple[float, float]:
    """Return CPU seconds for 1,000 requests, and those that a run costs beside them."""
    log = work.scratch / f"{name}.log"
    found = []
    if name == "swarm":
        requests *= OURS_TIMES
    for count in (requests, 3 * requests):
        work.mock.reset()
        used = cpu_s(PEERS[name](command, work, count), log)
        found.append((served(work.mock), used))
    (few, short_s), (many, long_s) = found
    each_s = (long_s - short_s) / (many - few)
    return each_s * 1000, short_s - each_s * few


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mock", type=Path, required=True)
    parser.add_argument("--venvs", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    commands = {name: sys.executable if name == "swarm" else find(name, options.venvs) for name in PEERS}
    missing = [name for name, command in commands.items() if command is None]
    if len(missing) == len(PEERS) - 1:
        refuse(f"there is no peer to compare with: {how_to_install(missing)}")
    mock = start_mock(options.mock)
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; CPU seconds per 1,000 requests")
    ours = None
    try:
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            work = Work(mock, options.streams, options.tokens, write_tokenizer(scratch / "words"), scratch)
            for name, command in commands.items():
                if command is None:
                    continue
                try:
                    each_s, start_s = measure(name, command, work, options.requests)
                except subprocess.CalledProcessError as fault:
                    last = (scratch / f"{name}.log").read_text(errors="replace")[-1500:]
                    print(f"{name:10} ended with {fault.returncode}:\n{last}")
                    continue
                ours = ours or each_s
                print(
                    f"{name:10} {each_s:8.3f}   {each_s / ours:6.1f} x   and {start_s:5.1f} s a run",
                    flush=True,
                )
    finally:
        mock.process.kill()
    if missing:
        print(f"left out: {how_to_install(missing)}")


if __name__ == "__main__":
    main()
