"""Another proxy on the same traffic sees the same bytes, and counts the same: `pytest -m sdk`."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from hashlib import sha256
from pathlib import Path
from subprocess import Popen

import httpx
import orjson
import pytest

PACKAGES = ["mitmproxy"]
FLEET = Path(__file__).parents[2] / "experiments" / "fleets" / "laptop.yaml"
SWARM = [sys.executable, "-c", "from swarm.cli import main; main()"]
ADDON = """
import json
from hashlib import sha256

def response(flow):
    asked, replied = flow.request.raw_content, flow.response.raw_content
    with open(PATH, "a") as file:
        said = replied.decode()
        file.write(json.dumps([sha256(asked).hexdigest(), sha256(replied).hexdigest(), said]) + chr(10))
"""
INPUT = re.compile(r'"(?:prompt|input)_tokens":(\d+)')


@pytest.fixture(scope="session")
def mitmdump() -> Path:
    """The other proxy, in an environment of its own."""
    folder = Path(tempfile.gettempdir()) / "swarm-capture-mitmproxy"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", *PACKAGES]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mitmproxy cannot be installed here: {done.stderr[-200:]}")
        (folder / "whole").touch()
    return folder / "bin" / "mitmdump"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the other proxy does not listen")


@pytest.mark.sdk
@pytest.mark.timeout(900)
def test_another_proxy_sees_the_same(mitmdump: Path, tmp_path: Path) -> None:
    seen, out, addon, port = tmp_path / "seen.jsonl", tmp_path / "out", tmp_path / "addon.py", free_port()
    addon.write_text(f"PATH = {str(seen)!r}\n{ADDON}")
    serve = Popen([*SWARM, "serve", str(FLEET), "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert serve.stdout is not None
    url = serve.stdout.readline().strip()
    other = Popen([mitmdump, "-q", "--mode", f"reverse:{url}", "-p", str(port), "-s", str(addon)])
    wait_for(port)
    command = [*SWARM, "capture", "--upstream", f"http://127.0.0.1:{port}", "--out", str(out), "--port", "0"]
    capture = Popen([*command, "--keep-content"], stdout=subprocess.PIPE, text=True)
    assert capture.stdout is not None
    front = capture.stdout.readline().strip()
    try:
        messages = [{"role": "user", "content": "word " * 3000}]
        with httpx.Client(timeout=60) as client:
            for turn in range(4):
                messages.append({"role": "user", "content": f"{turn} more " * 20})
                for is_stream in (False, True):
                    body = {"model": "laptop", "max_tokens": 20, "stream": is_stream}
                    options = {"stream_options": {"include_usage": True}} if is_stream else {}
                    chat = {**body, **options, "messages": messages}
                    client.post(f"{front}/v1/chat/completions", json=chat).raise_for_status()
                    client.post(
                        f"{front}/v1/messages", json={**body, "messages": messages}
                    ).raise_for_status()
                    asked = {"model": "laptop", "max_output_tokens": 20, "stream": is_stream}
                    client.post(f"{front}/v1/responses", json={**asked, "input": messages}).raise_for_status()
    finally:
        for process in (capture, other, serve):
            process.send_signal(signal.SIGINT)
            process.wait(60)
    (file,) = out.iterdir()
    entries = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    theirs = [json.loads(line) for line in seen.read_text().splitlines()]
    mine = [
        [sha256(entry[name].encode()).hexdigest() for name in ("request", "response")] for entry in entries
    ]
    assert len(mine) == 24
    assert mine == [each[:2] for each in theirs]
    for entry, (_, _, said) in zip(entries, theirs, strict=True):
        total = max(map(int, INPUT.findall(said)))
        read = max(map(int, re.findall(r'"cache_read_input_tokens":(\d+)', said)), default=0)
        assert entry["input_tokens"] == total + read
        assert entry["output_tokens"] == 20
