"""Run the steps of the Dockerfile in a fresh root where docker is missing, and a job in what they make.

    python scripts/check_dockerfile.py [--mirror URL] [--keep]

`debootstrap` makes the root (Debian bookworm, as the image that the Dockerfile starts from); Debian's Python
3.11 stands for that image's. COPY, RUN, USER and WORKDIR are done as they stand, in a chroot. Then, as the
image's user in a login shell as KubeRay uses, Ray starts, the probe of a pod's health answers, and a job runs
an experiment against `swarm serve` and leaves its results in /results.

Linux, as root; about ten minutes. Settings of pip and certificates are this machine's. Exit 1 where a step
fails.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEP_S_MAX = 1800
BASE = "python3 python3-pip python3-venv python-is-python3 ca-certificates"
HOST_SETTINGS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/etc/xdg/pip")
MOUNTS = ("/proc", "/dev", "/dev/shm")

JOB = """
set -e
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
ray start --head --num-cpus=4 --dashboard-host=127.0.0.1 > /tmp/start.log
wget -q -O- http://127.0.0.1:52365/api/local_raylet_healthz | grep -q success && echo "healthy"
swarm serve /swarm/experiments/fleets/laptop.yaml --port 8000 > /tmp/serve.log 2>&1 &
for _ in $(seq 60); do wget -q -O- http://127.0.0.1:8000/health > /dev/null && break; sleep 1; done
ray job submit --address http://127.0.0.1:8265 -- swarm run /swarm/experiments/quickstart.yaml \
  --target http://127.0.0.1:8000 --set load.agents=20 --set load.warmup_s=0 --set load.duration_s=20 \
  --set load.ramp_s=2 --set load.drain_s=10 --out /results/1 || true
kill %1
ray stop > /dev/null
test -s /results/1/summary.json && test -s /results/1/requests.parquet && echo "a whole run in /results/1"
"""


def steps_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield a Dockerfile's instructions and their arguments, continuations joined."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


class Image:
    """A root in which the steps run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.user = "root"
        self.folder = "/"
        self.arguments: dict[str, str] = {}

    def run(self, command: str, *, is_login: bool = False) -> None:
        """Run a command of the image's shell; raises CalledProcessError."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        environment |= self.arguments | {
            n: v for n, v in os.environ.items() if n.startswith(("PIP_", "SSL_"))
        }
        line = f"cd {shlex.quote(self.folder)} && {{ {command}\n}}"
        shell = ["bash", "-lc" if is_login else "-c", line]
        who = ["--userspec", f"{self.user}:users"] if self.user != "root" else []
        subprocess.run(
            ["chroot", *who, str(self.root), *shell], env=environment, check=True, timeout=STEP_S_MAX
        )

    def copy(self, source: str, target: str) -> None:
        """Copy what git would carry: .dockerignore leaves out what is built and recorded."""
        if source != ".":
            raise SystemExit(f"COPY {source} is not known here: the whole checkout is copied")
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE,
        ).stdout.decode()  # fmt: skip
        for name in filter(None, listed.split("\0")):
            path = self.root / target.lstrip("/") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, path)

    def do(self, name: str, rest: str) -> None:
        """Carry out one instruction."""
        print(f"== {name} {' '.join(rest.split())}", flush=True)
        match name:
            case "FROM":
                if not rest.startswith("python:3.11-slim-bookworm"):
                    raise SystemExit(f"FROM {rest}: the root made here is Debian bookworm with Python 3.11")
            case "ARG":
                key, _, value = rest.partition("=")
                self.arguments[key] = value
            case "RUN":
                self.run(rest)
            case "COPY":
                self.copy(*rest.split())
            case "USER":
                self.user = rest
            case "WORKDIR":
                self.folder = rest
            case _:
                raise SystemExit(f"{name}: an instruction that is not known here")


def fresh_root(root: Path, mirror: str, mounts: ExitStack) -> None:
    """Make the root that stands for the Dockerfile's first line."""
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(root), mirror], check=True)
    for name in MOUNTS:
        subprocess.run(["mount", "--bind", name, str(root / name[1:])], check=True)
        mounts.callback(subprocess.run, ["umount", "--lazy", str(root / name[1:])])
    image = Image(root)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    image.run(f"apt-get update -q && apt-get install -q --yes --no-install-recommends {BASE}")
    # The image's own pip installs into the system's Python, and so does this one.
    image.run("rm -f /usr/lib/python3*/EXTERNALLY-MANAGED")
    for name in HOST_SETTINGS:
        _carry(Path(name), root / name[1:])
    for where in filter(os.path.isabs, os.environ.get("PIP_FIND_LINKS", "").split()):
        _carry(Path(where), root / where[1:])


def _carry(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def main() -> int:
    """Run the steps and the job; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="a mirror of Debian")
    parser.add_argument("--keep", action="store_true", help="leave the root where it is")
    asked = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        print("it needs root and debootstrap (`apt-get install debootstrap`)", file=sys.stderr)
        return 2
    root = Path(tempfile.mkdtemp(prefix="swarm-image-"))
    root.chmod(0o755)
    with ExitStack() as left:
        if not asked.keep:
            left.callback(shutil.rmtree, root, ignore_errors=True)
        mounts = left.enter_context(ExitStack())
        try:
            fresh_root(root, asked.mirror, mounts)
            image = Image(root)
            for name, rest in steps_of((ROOT / "Dockerfile").read_text(encoding="utf-8")):
                image.do(name, rest)
            print("== a job, as the image's user", flush=True)
            image.run(JOB, is_login=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as fault:
            print(f"FAILED {fault}", file=sys.stderr)
            return 1
    print("every step holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
