"""Everything asked of a server that is not a turn: is it there, what does it serve, what does it count."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Any, Self

import httpx

from swarm.config.base_url import base_url
from swarm.config.target import TargetConfig
from swarm.errors import OutOfBounds, RunError
from swarm.live.targets.busy import read_busy
from swarm.live.targets.counters import TEXT_BYTES_MAX, mean_usage, of_page, summed, usages
from swarm.live.targets.openai import api_key, key_header, own_headers
from swarm.live.targets.redact import redactor
from swarm.live.targets.transport.bounded import exchange
from swarm.live.targets.transport.proxy import proxy_of
from swarm.live.targets.transport.tls import client_context
from swarm.measure.saturation import ServerBusy
from swarm.measure.totals import ServerCounters

TIMEOUT_S = 10.0
"""Of one question, from its connection to the answer's last byte."""
BUSY_S_MAX = 3.0
"""How long servers may take to say how busy they are: the driver waits for it in the middle of a run."""
PROBE_EVERY_S = 0.1
MODEL_CHARS_MAX = 1024
MODELS_BYTES_MAX = 2 * 1024**2
"""Of a list of models; decoded it takes up to thirty times as much."""
PAGE_BYTES_MAX = 2 * 1024**2
"""Of a page on which a server tells of itself."""
HEALTH_BYTES_MAX = 16 * 1024
QUOTED_BYTES_MAX = 16 * 1024
"""Of a body that is quoted in an error."""
LOCATION_CHARS_MAX = 1024
RESETS = ("/reset_prefix_cache", "/flush_cache")
"""Where servers empty their prefix caches: vLLM in its development mode, SGLang."""


class ControlPlane:
    """The side doors of the servers of one target, over plain httpx."""

    def __init__(self, config: TargetConfig) -> None:
        if not config.urls:
            raise RunError("target.urls is empty: there is no server to ask")
        self._proxy = config.proxy
        self._redactor = redactor(config, api_key(config))
        places = [base_url(url) for url in config.urls]
        self._urls = [place.origin + place.server for place in places]
        self._models = (places[0].origin, places[0].models(config.path))
        self._pages = [(url, "") for url in config.metrics_urls] or [(url, "/metrics") for url in self._urls]
        # Certificates take 30 ms to load; where no URL is encrypted nobody looks at them.
        secure = any(url.startswith("https:") for url in (*config.urls, *config.metrics_urls))
        context = client_context(config.ca_file, verify=config.verify) if secure else False
        self._client = httpx.AsyncClient(
            headers={**own_headers(config), **key_header(config)},
            verify=context,
            timeout=TIMEOUT_S,
            # Questions take the way of turns, and no other.
            trust_env=False,
            mounts=_ways(config, context),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def wait_until_healthy(self, timeout_s: float) -> None:
        """Return when every server answers GET /health with success; raises `RunError`."""
        until = monotonic() + timeout_s
        for url in self._urls:
            while True:
                try:
                    await self._get(url, "/health", HEALTH_BYTES_MAX)
                    break
                except RunError as error:
                    if monotonic() >= until:
                        raise RunError(f"{error}; waited {timeout_s:g} s for it to become healthy") from None
                    await asyncio.sleep(PROBE_EVERY_S)

    async def models(self) -> list[dict[str, Any]]:
        """Return what the first server lists under /v1/models."""
        url = "".join(self._models)
        response = await self._get(*self._models, MODELS_BYTES_MAX)
        try:
            found = json.loads(response.content)["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(
            isinstance(model, dict) and isinstance(model.get("id"), str) for model in found
        ):
            raise RunError(
                f"{url}: expected a list of models under 'data', got "
                f"{self._redactor.shown(_text(response)) or 'nothing'}"
            )
        return found

    async def metrics(self) -> list[str]:
        """Return the text of GET /metrics of every server: of `metrics_urls` where the target names some."""
        return [page async for page in self.pages()]

    async def pages(self) -> AsyncIterator[str]:
        """Yield the texts of `metrics`, so that one at a time is held."""
        for url, path in self._pages:
            yield await self._page(url, path)

    async def _page(self, url: str, path: str) -> str:
        return (await self._get(url, path, TEXT_BYTES_MAX)).content.decode("utf-8", "replace")

    async def counters(self) -> ServerCounters | None:
        """Return the sums over all servers' counters; None where one has none that is known.

        Raises:
            RunError: One of them cannot be read, or is no count.
        """
        found = []
        for url, path in self._pages:
            page = await self._page(url, path)
            try:
                found.append(of_page(page))
            except OutOfBounds as error:
                raise OutOfBounds(f"GET {url}{path}: {error}") from None
        return summed(found)

    async def page(self, path: str) -> list[str]:
        """Return the text of a page of the first server."""
        content = (await self._get(self._urls[0], path, PAGE_BYTES_MAX)).content
        return [content.decode("utf-8", "replace")]

    async def forget(self) -> bool:
        """Let every server empty its prefix cache; False where one of them cannot."""
        for url in self._urls:
            for path in RESETS:
                try:
                    response = await self._ask("POST", url + path, HEALTH_BYTES_MAX)
                except (httpx.HTTPError, OutOfBounds):
                    return False
                if response.is_success:
                    break
            else:
                return False
        return True

    async def _get(self, url: str, path: str, bytes_max: int) -> httpx.Response:
        try:
            response = await self._ask("GET", url + path, bytes_max)
        except OutOfBounds as error:
            raise OutOfBounds(f"GET {url}{path}: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = self._redactor.shown(f"{type(error).__name__}: {error}")
            proxy = proxy_of(url, self._proxy)
            words += "" if proxy is None else f" (through the proxy {proxy.url})"
            raise RunError(f"GET {url}{path}: {words}; is the server running?") from None
        if not response.is_success:
            place = response.headers.get("location")
            to = "" if place is None else f" to Location: {place[:LOCATION_CHARS_MAX]}"
            words = self._redactor.shown(f"HTTP {response.status_code}{to}: {_text(response)}")
            raise RunError(f"GET {url}{path}: {words}")
        return response

    async def _ask(self, method: str, url: str, bytes_max: int) -> httpx.Response:
        return await exchange(self._client, method, url, bytes_max=bytes_max, timeout_s=TIMEOUT_S)


def _ways(config: TargetConfig, context: ssl.SSLContext | bool) -> dict[str, httpx.AsyncBaseTransport]:
    """Return the ways to those servers that stand behind a proxy."""
    found: dict[str, httpx.AsyncBaseTransport] = {}
    for url in (*config.urls, *config.metrics_urls):
        proxy, place = proxy_of(url, config.proxy), base_url(url)
        if proxy is not None:
            headers = {b"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            way = httpx.Proxy(proxy.url, headers=headers)
            found[place.origin] = httpx.AsyncHTTPTransport(verify=context, proxy=way, trust_env=False)
    return found


def _text(response: httpx.Response) -> str:
    """Return the beginning of a body; its charset may be one that nobody knows, or a lie."""
    return response.content[:QUOTED_BYTES_MAX].decode("utf-8", "replace")


async def resolve(config: TargetConfig) -> TargetConfig:
    """Return the target with its model named; asks the first server if the configuration does not say."""
    if config.model is not None:
        return config
    async with ControlPlane(config) as control:
        models = await control.models()
    if not models:
        raise RunError(f"{config.urls[0]}/v1/models lists no model: set target.model")
    model: str = models[0]["id"]
    if len(model) > MODEL_CHARS_MAX or not model.isprintable():
        raise RunError(
            f"{config.urls[0]}/v1/models names its model by {len(model):,} characters that cannot all be "
            "printed: set target.model"
        )
    return config.model_copy(update={"model": model})


async def server_counters(config: TargetConfig, note: Callable[[str], None]) -> ServerCounters | None:
    """Return what the target's own counters say now; None where they cannot be read.

    `note` is told why where a server publishes something that cannot be used; many publish nothing.
    """
    async with ControlPlane(config) as control:
        try:
            return await control.counters()
        except OutOfBounds as error:
            note(f"the target's own counters are left aside: {error}")
        except RunError:
            pass
        return None


async def server_busy(config: TargetConfig, at_s: float) -> ServerBusy | None:
    """Return how busy the servers say that they have been; None where they cannot be asked in time."""
    async with ControlPlane(config) as control:
        try:
            async with asyncio.timeout(BUSY_S_MAX):
                return read_busy(await control.metrics(), at_s)
        except (RunError, TimeoutError):
            return None


async def occupancy(config: TargetConfig) -> float | None:
    """Return the share of the servers' KV memory that requests are using; None where it cannot be read."""
    async with ControlPlane(config) as control:
        try:
            return mean_usage([usages(page) async for page in control.pages()])
        except RunError:
            return None


async def forgets(config: TargetConfig) -> bool:
    """Let the target empty its prefix caches; False where it cannot."""
    async with ControlPlane(config) as control:
        return await control.forget()
