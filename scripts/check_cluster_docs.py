"""Run every command of docs/cluster.md, and README's job, as they stand, and look at what they leave.

    python scripts/check_cluster_docs.py [--venv DIR] [--auth token] [--keep]

Each block runs in a fresh shell, with a fresh home folder and environment; `~/swarm-venv` there is an
environment into which this checkout was installed (or DIR). It happens with Ray's token authentication,
without it, and with Ray started by its path from a shell without `swarm`. Placeholders (HEAD, BUCKET) are
replaced and no more; experiments/quickstart.yaml is a short one in the copy of the checkout that they run in.

All of it has a network and processes of its own (`unshare`; Linux, as root or where users may do so), so that
Ray's ports are free and `ray stop` ends nothing else; pip finds what a build needs in a folder filled before.
About ten minutes on two cores. Exit 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
INSIDE = "SWARM_CHECK_SCRATCH"
AGENT_PORT, TARGET_PORT = 52365, 8000
BLOCK_S_MAX = 900
READY_S_MAX = 300.0
STARTS_MAX = 6
BUILD_NEEDS = ("hatchling", "mypy>=2.1", "setuptools>=70", "wheel")
SHORT: dict[str, Any] = {
    "load": {"agents": 24, "ramp_s": 1, "warmup_s": 0, "duration_s": 15, "drain_s": 10},
    # The machine may be busy: its lags are not what is looked at.
    "audit": {
        "loop_lag_p99_s": 60,
        "event_lateness_p99_s": 60,
        "send_lag_p99_s": 60,
        "cpu_wait_share": 1,
        "delivered_share": 0,
    },
    "hosts": {"count": 2, "report_every_s": 0.5},
}


def blocks_of(page: str) -> list[str]:
    """Return the commands of a page's code blocks, one text a block."""
    return re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.S | re.M)


def job_of_readme() -> str:
    """Return README's command that submits a job, with its continuations."""
    (block,) = [block for block in blocks_of("README.md") if "ray job submit" in block]
    lines = re.findall(r"(?:[^\n]*\\\n)*[^\n]+", block)
    (line,) = [line for line in lines if "ray job submit" in line]
    return f". ~/swarm-venv/bin/activate\n{line}\n"


class Place:
    """Where one pass runs: a home, a checkout, and what stands for the placeholders."""

    def __init__(self, scratch: Path, name: str, auth: str) -> None:
        self.folder = scratch / name
        self.home, self.runs = self.folder / "home", self.folder / "runs"
        self.bucket, self.checkout = self.folder / "bucket", self.folder / "checkout"
        self.auth = auth
        for folder in (self.home, self.runs, self.bucket, self.folder / "ray"):
            folder.mkdir(parents=True)
        (self.home / "swarm-venv").symlink_to(scratch / "venv")
        self._copy_checkout()
        self._wheels = scratch / "wheels"
        self.failures: list[str] = []

    def _copy_checkout(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.checkout / name)
        path = self.checkout / "experiments" / "quickstart.yaml"
        experiment = yaml.safe_load(path.read_text(encoding="utf-8"))
        del experiment["slo"]
        path.write_text(yaml.safe_dump({**experiment, **SHORT}), encoding="utf-8")

    def filled(self, text: str) -> str:
        """Return commands with their placeholders replaced, and nothing else."""
        for placeholder, value in (
            ("HEAD", "127.0.0.1"),
            ("http://HOST:8000", f"http://127.0.0.1:{TARGET_PORT}"),
            ("s3://BUCKET", f"file://{self.bucket}"),
            ("/mnt/runs", str(self.runs)),
            ("RAY_AUTH_MODE=token", f"RAY_AUTH_MODE={self.auth}"),
        ):
            text = text.replace(placeholder, value)
        return text

    def start(self, text: str) -> subprocess.Popen[str]:
        """Start commands in a fresh shell."""
        environment = {
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "RAY_TMPDIR": str(self.folder / "ray"),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A busy machine takes longer than Ray's half minute.
            "RAY_raylet_start_wait_time_s": "60",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self._wheels),
        }
        return subprocess.Popen(
            ["bash", "-e", "-c", self.filled(text)],
            cwd=self.checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, text: str, *, fails: bool = False) -> str:
        """Run commands in a fresh shell; return what they printed. They must succeed, or fail."""
        began = time.monotonic()
        process = self.start(text)
        said, _ = process.communicate(timeout=BLOCK_S_MAX)
        shown = text.strip().splitlines()[-1].strip()
        self.holds(f"`{shown}` {'fails' if fails else 'succeeds'}", (process.returncode != 0) is fails, said)
        print(f"    {time.monotonic() - began:.0f} s", flush=True)
        return said

    def start_ray(self, text: str) -> None:
        """Run commands that start a node; again where the machine was too busy for Ray's own 15 s."""
        for number in range(STARTS_MAX):
            process = self.start(text)
            said, _ = process.communicate(timeout=BLOCK_S_MAX)
            is_late = "timed out during startup" in said
            if not is_late or number == STARTS_MAX - 1:
                break
            print("  late  Ray's agents did not start in time: again", flush=True)
            if "--head" in text:
                self.start("~/swarm-venv/bin/ray stop --force").communicate()
        self.holds(f"`{text.strip().splitlines()[-1]}` succeeds", process.returncode == 0, said)

    def holds(self, what: str, is_so: bool, said: str = "") -> None:
        """Note whether something holds."""
        print(f"  {'ok    ' if is_so else 'FAILED'} {what}", flush=True)
        if not is_so:
            print(said[-4000:], flush=True)
            self.failures.append(f"{self.folder.name}: {what}")

    def summary(self, run: Path) -> dict[str, Any]:
        """Return a run's summary, or an empty one."""
        path = run / "summary.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def has_finished(self, run: Path, place: str, said: str) -> None:
        """Note whether a run is whole, and its place is a line of the log."""
        summary = self.summary(run)
        self.holds(f"{place} holds a whole run", summary.get("requests", {}).get("finished", 0) > 0, said)
        self.holds(f"{place} is a line of the log", place in said.splitlines(), said)


def wait_for_port(port: int) -> None:
    """Return when something listens on a port of this machine."""
    until = time.monotonic() + READY_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                sys.exit(f"nothing listens on port {port} after {READY_S_MAX:.0f} s")
            time.sleep(0.5)


def follow_stop_and_resume(place: Place, block: str) -> None:
    """Run the block that follows a job, stops it and goes on with it; see each step's work."""
    lines = block.strip().splitlines()
    (follow,) = [k for k, line in enumerate(lines) if "--follow" in line]
    (stop,) = [k for k, line in enumerate(lines) if "ray job stop" in line]
    settings = [line for line in lines if not line.startswith("ray ")]
    run = place.runs / "2"
    place.run("\n".join(lines[:follow]))
    following = place.start("\n".join([*settings, lines[follow]]))
    until = time.monotonic() + READY_S_MAX
    while not any(path.stat().st_size > 50_000 for path in run.glob("journal/host-*.journal")):
        if time.monotonic() > until or (run / "summary.json").exists():
            place.holds("the job begins, and is not over at once", False)
            break
        time.sleep(0.2)
    place.run("\n".join([*settings, lines[stop]]))
    said, _ = following.communicate(timeout=BLOCK_S_MAX)
    place.holds("followed, it says where its folder is", f"swarm: run folder: {run}" in said, said)
    notes = place.summary(run).get("notes") or [""]
    place.holds(
        "stopped, it has rows and summary",
        (run / "requests.parquet").is_file() and notes[0].startswith("stopped by SIGTERM"),
        f"{sorted(run.iterdir())} {notes}\n{said}",
    )
    said = place.run("\n".join([*settings, *lines[stop + 1 :]]))
    place.has_finished(run, str(run), said)
    after = place.summary(run)
    told = (after.get("notes") or [""])[0]
    place.holds(
        "gone on with, it is whole and nothing is unaccounted for",
        after.get("requests", {}).get("unaccounted") == 0 and not told.startswith("stopped"),
        told,
    )


def documented(scratch: Path, auth: str) -> list[str]:
    """Run all blocks in one mode of authentication; return what did not hold."""
    print(f"RAY_AUTH_MODE={auth}", flush=True)
    place = Place(scratch, auth, auth)
    target = place.start(
        f"~/swarm-venv/bin/python -m swarm serve experiments/fleets/laptop.yaml --port {TARGET_PORT}"
    )
    for block in blocks_of("docs/cluster.md"):
        if "ray job logs" in block:
            follow_stop_and_resume(place, block)
            continue
        if "ray start" in block:
            place.start_ray(block)
            wait_for_port(AGENT_PORT)
            continue
        said = place.run(block)
        for kind, name in re.findall(r"--out (s3://BUCKET|/mnt)/runs/(\d)", block):
            folder = place.bucket / "runs" / name if kind.startswith("s3") else place.runs / name
            shown = f"file://{folder}" if kind.startswith("s3") else str(folder)
            place.has_finished(folder, shown, said)
    wait_for_port(TARGET_PORT)
    said = place.run(job_of_readme())
    place.has_finished(place.bucket / "runs" / "0", f"file://{place.bucket}/runs/0", said)
    place.run("~/swarm-venv/bin/ray stop")
    target.terminate()
    return place.failures


def by_path(scratch: Path) -> list[str]:
    """Start Ray by its path, in a shell without `swarm`; return what did not hold of what the page says."""
    print("Ray started by its path", flush=True)
    place = Place(scratch, "path", "disabled")
    ray = "export RAY_AUTH_MODE=disabled\n~/swarm-venv/bin/ray"
    submit = f"{ray} job submit --address http://HEAD:8265 --working-dir . -- "
    place.start_ray(f"{ray} start --head")
    wait_for_port(AGENT_PORT)
    said = place.run(f"{submit} swarm run experiments/quickstart.yaml --out /mnt/runs/1", fails=True)
    place.holds("`swarm` is not found", "exit code 127" in said, said)
    module = f"{submit} ~/swarm-venv/bin/python -m swarm run experiments/quickstart.yaml"
    said = place.run(module, fails=True)
    place.holds("a job without --out is told so", "this is a Ray job" in said and "exit code 2" in said, said)
    said = place.run(f"{module} --out /mnt/runs/2")
    place.has_finished(place.runs / "2", str(place.runs / "2"), said)
    place.run("~/swarm-venv/bin/ray stop")
    return place.failures


def prepared(scratch: Path, venv: Path | None) -> None:
    """Install this checkout into a fresh environment, or take one, and fill the folder for pip."""
    if venv is None:
        subprocess.run([sys.executable, "-m", "venv", str(scratch / "venv")], check=True)
        subprocess.run([str(scratch / "venv" / "bin" / "pip"), "install", "-q", str(ROOT)], check=True)
    else:
        (scratch / "venv").symlink_to(venv.resolve())
    pip = str(scratch / "venv" / "bin" / "pip")
    subprocess.run([pip, "download", "-q", "-d", str(scratch / "wheels"), *BUILD_NEEDS], check=True)


def apart(scratch: Path) -> Iterator[str]:
    """Yield the command that runs the rest of a command line with a network and processes of its own."""
    yield from ("unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
    if os.geteuid() != 0:
        yield "--map-root-user"
    yield from ("env", f"{INSIDE}={scratch}", sys.executable)


def raise_loopback() -> None:
    """Bring up the loopback interface of a fresh network (netdevice(7): SIOCSIFFLAGS)."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))


def main() -> int:
    """Run all passes; return 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--venv", type=Path, help="an environment that holds Swarm; default: a fresh one")
    parser.add_argument("--auth", choices=("token", "disabled", "path"), action="append", help="some passes")
    parser.add_argument("--keep", action="store_true", help="leave what was written")
    asked = parser.parse_args()
    if INSIDE not in os.environ:
        # Short: Ray's sockets lie below it.
        scratch = Path(tempfile.mkdtemp(prefix="sw-"))
        try:
            prepared(scratch, asked.venv)
            return subprocess.run([*apart(scratch), *sys.argv], check=False).returncode
        finally:
            if not asked.keep:
                shutil.rmtree(scratch, ignore_errors=True)
    scratch = Path(os.environ.pop(INSIDE))
    raise_loopback()
    failures: list[str] = []
    for name in asked.auth or ("token", "disabled", "path"):
        failures += by_path(scratch) if name == "path" else documented(scratch, name)
    print("\n".join(["", *failures, f"{len(failures)} failed"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
