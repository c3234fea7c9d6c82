from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.live.targets.control import ControlPlane, resolve

PAGES = {
    b"/health": b"",
    b"/v1/models": b'{"object":"list","data":[{"id":"tiny","object":"model"}]}',
    b"/metrics": b"vllm:num_requests_running 3\n",
}


def serve(pages: dict[bytes, bytes]) -> Any:
    async def script(peer: Any) -> None:
        while True:
            head, _ = await peer.request()
            page = pages.get(head.split(b" ")[1])
            status = b"404 Not Found" if page is None else b"200 OK"
            body = page or b""
            await peer.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    return script


def test_a_model_is_found_and_a_named_one_is_left_alone(lab: SimpleNamespace) -> None:
    async def main() -> list[str | None]:
        async with lab.serving(serve(PAGES)) as server:
            found = await resolve(TargetConfig(urls=(server.url,)))
            named = await resolve(TargetConfig(urls=(server.url,), model="mine"))
            return [found.model, named.model]

    assert lab.run(main) == ["tiny", "mine"]


def test_health_and_metrics_of_every_server(lab: SimpleNamespace) -> None:
    async def main() -> list[str]:
        async with (
            lab.serving(serve(PAGES)) as server,
            ControlPlane(TargetConfig(urls=(server.url, server.url + "/v1"))) as control,
        ):
            await control.wait_until_healthy(1.0)
            return await control.metrics()

    assert lab.run(main) == ["vllm:num_requests_running 3\n"] * 2


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ({}, "HTTP 404"),
        ({b"/v1/models": b"[]"}, "expected a list"),
        ({b"/v1/models": b'{"data":[]}'}, "no model"),
    ],
)
def test_what_a_server_lacks_is_said(lab: SimpleNamespace, pages: dict[bytes, bytes], says: str) -> None:
    async def main() -> None:
        async with lab.serving(serve(pages)) as server:
            await resolve(TargetConfig(urls=(server.url,)))

    with pytest.raises(RunError, match=says):
        lab.run(main)


def test_a_server_that_is_not_there_is_waited_for_and_named(lab: SimpleNamespace) -> None:
    async def main() -> None:
        async with ControlPlane(TargetConfig(urls=("http://127.0.0.1:9",))) as control:
            await control.wait_until_healthy(0.15)

    with pytest.raises(RunError, match=r"127\.0\.0\.1:9/health.*waited 0\.15 s"):
        lab.run(main)
