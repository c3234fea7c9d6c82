"""What peers measure of `swarm serve` beside what it counted and sent itself.

    python benchmarks/served_peers.py [--venvs FOLDER] [--requests 200] [--streams 16] [--tokens 64]

A peer takes part where its command is: FOLDER/NAME/bin/NAME, or on the PATH; those that are missing are
named at the end. Each one keeps `streams` requests open, of random prompts and replies of `tokens`. The
server counts by their tokenizer, so that their counts must be its own: requests, and tokens in and out.
Times must agree within 5 % and 3 ms: mean TTFT, and the mean gap between tokens, as the server's histograms
have them: when a token was due, from when its request was read; `late` is how long after that it was sent,
on the mean. Requests that a peer sends beside those that it counts stand under `more`: the server's tokens
are theirs too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installed import find, how_to_install
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PROMPT_TOKENS = 600
TIME_SHARE, TIME_S = 0.05, 0.003
LETTERS = "bcdfghlmnprstvz"
FLEET = {
    "name": "mock",
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 40_000,
        "decode_base_s": 0.015,
        "kv_capacity_tokens": 10_000_000,
    },
    "max_model_len": 100_000,
}
NAMES = {
    "requests": "vllm:request_success_total",
    "prompt": "vllm:prompt_tokens_total",
    "output": "vllm:generation_tokens_total",
    "ttft_sum": "vllm:time_to_first_token_seconds_sum",
    "ttft_count": "vllm:time_to_first_token_seconds_count",
    "itl_sum": "vllm:inter_token_latency_seconds_sum",
    "itl_count": "vllm:inter_token_latency_seconds_count",
    "late_sum": "swarm:event_lateness_seconds_sum",
    "late_count": "swarm:event_lateness_seconds_count",
}


@dataclass(frozen=True)
class Seen:
    """A benchmark, as one side of it saw it."""

    requests: int
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    itl_s: float
    late_s: float = 0.0
    """How late the server sent, on the mean."""


@dataclass(frozen=True)
class Work:
    """What a peer does."""

    url: str
    requests: int
    streams: int
    tokens: int
    tokenizer: Path
    scratch: Path


@dataclass(frozen=True)
class Peer:
    """How a peer is called, and where it says what it saw."""

    command: Callable[[str, Work], list[str]]
    seen: Callable[[Work], Seen]
    more: int = 0
    """Requests beside those that it counts."""


def vllm(command: str, work: Work) -> list[str]:
    # Its build for CPUs has another name, by which its command does not find its own version.
    start = (
        "import importlib.metadata as m; found = m.version; "
        "m.version = lambda name: '0' if name == 'vllm' else found(name); "
        "from vllm.entrypoints.cli.main import main; main()"
    )
    return [
        str(Path(command).with_name("python")), "-c", start, "bench", "serve", "--backend", "openai",
        "--base-url", work.url, "--endpoint", "/v1/completions",
        "--model", "mock", "--tokenizer", str(work.tokenizer), "--dataset-name", "random",
        "--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(work.tokens),
        "--num-prompts", str(work.requests), "--max-concurrency", str(work.streams),
        "--disable-tqdm", "--ignore-eos", "--save-result",
        "--result-dir", str(work.scratch), "--result-filename", "vllm.json",
    ]  # fmt: skip


def vllm_seen(work: Work) -> Seen:
    found = read(work.scratch / "vllm.json")
    return Seen(
        found["completed"],
        found["total_input_tokens"],
        found["total_output_tokens"],
        found["mean_ttft_ms"] / 1e3,
        found["mean_itl_ms"] / 1e3,
    )


def aiperf(command: str, work: Work) -> list[str]:
    return [
        command, "profile", "--model", "mock", "--url", work.url, "--endpoint-type", "completions",
        "--streaming", "--tokenizer", str(work.tokenizer), "--concurrency", str(work.streams),
        "--request-count", str(work.requests), "--isl", str(PROMPT_TOKENS), "--osl", str(work.tokens),
        "--extra-inputs", "ignore_eos:true", "--ui", "none", "--artifact-dir", str(work.scratch / "aiperf"),
    ]  # fmt: skip


def aiperf_seen(work: Work) -> Seen:
    found = read(work.scratch / "aiperf" / "profile_export_aiperf.json")
    count = round(found["request_count"]["avg"])
    return Seen(
        count,
        round(found["input_sequence_length"]["avg"] * count),
        round(found["output_sequence_length"]["avg"] * count),
        found["time_to_first_token"]["avg"] / 1e3,
        found["inter_token_latency"]["avg"] / 1e3,
    )


def guidellm(command: str, work: Work) -> list[str]:
    return [
        command, "run", "--backend", f"kind=openai_http,target={work.url},model=mock",
        "--profile", f"kind=concurrent,streams={work.streams}",
        "--constraint", f"kind=max_requests,count={work.requests}",
        "--tokenizer", f"kind=huggingface_auto,model={work.tokenizer}",
        "--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={work.tokens}",
        "--output", f"kind=json,path={work.scratch / 'guidellm.json'}", "--disable-console",
    ]  # fmt: skip


def guidellm_seen(work: Work) -> Seen:
    (found,) = read(work.scratch / "guidellm.json")["benchmarks"]
    metrics = found["metrics"]

    def all_of(name: str, value: str) -> float:
        return float(metrics[name]["successful"][value])

    return Seen(
        metrics["request_totals"]["successful"],
        round(all_of("prompt_token_count", "total_sum")),
        round(all_of("output_token_count", "total_sum")),
        all_of("time_to_first_token_ms", "mean") / 1e3,
        all_of("inter_token_latency_ms", "mean") / 1e3,
    )


def inference_perf(command: str, work: Work) -> list[str]:
    per_stage = {"mean": PROMPT_TOKENS, "min": PROMPT_TOKENS, "max": PROMPT_TOKENS, "std_dev": 0}
    config = {
        "load": {
            "type": "concurrent",
            "stages": [{"num_requests": work.requests, "concurrency_level": work.streams}],
            "num_workers": 1,
            "worker_max_concurrency": work.streams,
        },
        "api": {"type": "completion", "streaming": True},
        "server": {"type": "vllm", "model_name": "mock", "base_url": work.url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": str(work.tokenizer)},
        "data": {
            "type": "random",
            "input_distribution": {**per_stage, "total_count": work.requests},
            "output_distribution": {
                "mean": work.tokens,
                "min": work.tokens,
                "max": work.tokens,
                "std_dev": 0,
                "total_count": work.requests,
            },
        },
        "storage": {"local_storage": {"path": str(work.scratch / "inference-perf")}},
        "report": {"request_lifecycle": {"summary": True, "per_stage": False, "per_request": False}},
    }
    file = work.scratch / "inference-perf.yml"
    file.write_text(json.dumps(config))
    return [command, "--config_file", str(file)]


def inference_perf_seen(work: Work) -> Seen:
    found = read(next((work.scratch / "inference-perf").rglob("summary_lifecycle_metrics.json")))["successes"]
    return Seen(
        found["count"],
        round(found["prompt_tokens"]["total"]),
        round(found["output_tokens"]["total"]),
        found["latency"]["time_to_first_token"]["mean"],
        found["latency"]["inter_token_latency"]["mean"],
    )


PEERS = {
    "vllm": Peer(vllm, vllm_seen),
    "aiperf": Peer(aiperf, aiperf_seen),
    "guidellm": Peer(guidellm, guidellm_seen),
    "inference-perf": Peer(inference_perf, inference_perf_seen),
}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def write_tokenizer(folder: Path) -> Path:
    """Write a byte-level tokenizer of three-letter words in the form that peers load; nothing is fetched."""
    words = [f"{a}{b}{c}" for a in LETTERS for b in "aeiou" for c in LETTERS]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" " + " ".join(words)] * 20, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": 1 << 17,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 3000}))
    return folder


class Served:
    """`swarm serve`, and what it has counted."""

    def __init__(self, scratch: Path, tokenizer: Path) -> None:
        file = scratch / "fleet.json"
        serving = {"tokenizer": str(tokenizer / "tokenizer.json")}
        file.write_text(json.dumps({**FLEET, "serving": serving}))
        command = [sys.executable, "-c", "from swarm.cli import main; main()", "serve", str(file)]
        self._process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def page(self, path: str) -> str:
        return str(urllib.request.urlopen(f"{self.url}{path}").read().decode())

    def counted(self) -> dict[str, float]:
        """Return sums over all engines, finished requests alone."""
        text = self.page("/metrics")
        return {
            key: sum(
                float(value)
                for value in re.findall(rf"^{re.escape(name)}\{{.*\}} (\S+)$", text, re.MULTILINE)
            )
            for key, name in NAMES.items()
        }

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def since(before: dict[str, float], after: dict[str, float]) -> Seen:
    grown = {name: after[name] - before[name] for name in NAMES}
    return Seen(
        round(grown["requests"]),
        round(grown["prompt"]),
        round(grown["output"]),
        grown["ttft_sum"] / max(1, grown["ttft_count"]),
        grown["itl_sum"] / max(1, grown["itl_count"]),
        grown["late_sum"] / max(1, grown["late_count"]),
    )


def is_near(found_s: float, sent_s: float) -> bool:
    return abs(found_s - sent_s) <= TIME_SHARE * sent_s + TIME_S


def row(name: str, theirs: Seen, ours: Seen, more: int) -> str:
    """Return a line of the table, and what is wrong in it."""
    wrong = []
    if theirs.requests + more != ours.requests:
        wrong.append("requests")
    for kind in ("prompt_tokens", "output_tokens"):
        # Other requests have lengths like these ones, or less.
        mean = getattr(ours, kind) / max(1, ours.requests)
        if not 0 <= getattr(ours, kind) - getattr(theirs, kind) <= 1.1 * more * mean:
            wrong.append(kind.replace("_", " "))
    if not is_near(theirs.ttft_s, ours.ttft_s):
        wrong.append("TTFT")
    if not is_near(theirs.itl_s, ours.itl_s):
        wrong.append("ITL")
    return (
        f"{name:15} {theirs.requests:5} {ours.requests - more:5} {more:3}  "
        f"{theirs.prompt_tokens:8} {ours.prompt_tokens:8}  {theirs.output_tokens:7} {ours.output_tokens:7}  "
        f"{theirs.ttft_s * 1e3:7.1f} {ours.ttft_s * 1e3:7.1f}  "
        f"{theirs.itl_s * 1e3:6.2f} {ours.itl_s * 1e3:6.2f}  {ours.late_s * 1e3:5.2f}  "
        + (", ".join(wrong) + " differ" if wrong else "ok")
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venvs", type=Path)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--only", choices=PEERS, action="append")
    options = parser.parse_args()
    commands = {name: find(name, options.venvs) for name in options.only or PEERS}
    missing = [name for name, command in commands.items() if command is None]
    is_wrong = False
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; theirs beside ours")
    print(
        f"{'peer':15} {'requests':>11} more  {'tokens in':>17}  {'tokens out':>15}  {'TTFT ms':>15}  "
        f"{'ITL ms':>13}   late"
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        tokenizer = write_tokenizer(scratch / "words")
        for name, command in commands.items():
            if command is None:
                continue
            served = Served(scratch, tokenizer)
            work = Work(served.url, options.requests, options.streams, options.tokens, tokenizer, scratch)
            log = scratch / f"{name}.log"
            try:
                before = served.counted()
                alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
                with log.open("ab") as out:
                    peer = PEERS[name]
                    subprocess.run(
                        peer.command(command, work),
                        check=True,
                        stdout=out,
                        stderr=out,
                        env=alone,
                        timeout=540,
                    )
                line = row(name, peer.seen(work), since(before, served.counted()), peer.more)
                open_count = json.loads(served.page("/load"))["server_load"]
                if open_count:
                    line += f"; {open_count} requests have no answer"
            except (subprocess.SubprocessError, OSError, LookupError, StopIteration) as fault:
                tail = log.read_text(errors="replace")[-3000:]
                line = f"{name:15} failed: {type(fault).__name__}: {str(fault)[:300]}\n{tail}"
            finally:
                served.close()
            is_wrong |= not line.endswith("ok")
            print(line, flush=True)
    if missing:
        print(f"left out: {how_to_install(missing)}")
    return int(is_wrong)


if __name__ == "__main__":
    raise SystemExit(main())
