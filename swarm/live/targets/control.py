"""Everything asked of a server that is not a turn: is it there, what does it serve, what does it count."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Self

import httpx

from swarm.config.base_url import base_url
from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.live.targets.counters import read_counters, read_occupancy
from swarm.live.targets.openai import api_key, key_header, own_headers
from swarm.live.targets.redact import redactor
from swarm.live.targets.transport.tls import client_context
from swarm.measure.totals import ServerCounters

TIMEOUT_S = 10.0
PROBE_EVERY_S = 0.1
MODEL_CHARS_MAX = 1024
BODY_BYTES_MAX = 16 * 1024
"""Of a body that is quoted in an error."""
RESETS = ("/reset_prefix_cache", "/flush_cache")
"""Where servers empty their prefix caches: vLLM in its development mode, SGLang."""


class ControlPlane:
    """The side doors of the servers of one target, over plain httpx."""

    def __init__(self, config: TargetConfig) -> None:
        if not config.urls:
            raise RunError("target.urls is empty: there is no server to ask")
        self._redactor = redactor(config, api_key(config))
        places = [base_url(url) for url in config.urls]
        self._urls = [place.origin + place.server for place in places]
        self._models = (places[0].origin, places[0].models(config.path))
        self._metrics_urls = config.metrics_urls
        self._client = httpx.AsyncClient(
            headers={**own_headers(config), **key_header(config)},
            verify=client_context(config.ca_file)
            if any(url.startswith("https") for url in config.urls)
            else True,
            timeout=TIMEOUT_S,
            # Turns know no proxies, so questions about their servers must not go through one.
            trust_env=False,
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
                    await self._get(url, "/health")
                    break
                except RunError as error:
                    if monotonic() >= until:
                        raise RunError(f"{error}; waited {timeout_s:g} s for it to become healthy") from None
                    await asyncio.sleep(PROBE_EVERY_S)

    async def models(self) -> list[dict[str, Any]]:
        """Return what the first server lists under /v1/models."""
        url = "".join(self._models)
        response = await self._get(*self._models)
        try:
            found = response.json()["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(
            isinstance(model, dict) and "id" in model for model in found
        ):
            raise RunError(
                f"{url}: expected a list of models under 'data', got "
                f"{self._redactor.shown(_text(response)) or 'nothing'}"
            )
        return found

    async def metrics(self) -> list[str]:
        """Return the text of GET /metrics of every server: of `metrics_urls` where the target names some."""
        if self._metrics_urls:
            return [(await self._get(url, "")).text for url in self._metrics_urls]
        return [(await self._get(url, "/metrics")).text for url in self._urls]

    async def forget(self) -> bool:
        """Let every server empty its prefix cache; False where one of them cannot."""
        for url in self._urls:
            for path in RESETS:
                try:
                    response = await self._client.post(url + path)
                except httpx.HTTPError:
                    return False
                if response.is_success:
                    break
            else:
                return False
        return True

    async def _get(self, url: str, path: str) -> httpx.Response:
        try:
            response = await self._client.get(url + path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = self._redactor.shown(f"{type(error).__name__}: {error}")
            raise RunError(f"GET {url}{path}: {words}; is the server running?") from None
        if not response.is_success:
            place = response.headers.get("location")
            to = "" if place is None else f" to Location: {place}"
            words = self._redactor.shown(f"HTTP {response.status_code}{to}: {_text(response)}")
            raise RunError(f"GET {url}{path}: {words}")
        return response


def _text(response: httpx.Response) -> str:
    """Return the beginning of a body; its charset may be one that nobody knows, or a lie."""
    return response.content[:BODY_BYTES_MAX].decode("utf-8", "replace")


async def resolve(config: TargetConfig) -> TargetConfig:
    """Return the target with its model named; asks the first server if the configuration does not say."""
    if config.model is not None:
        return config
    async with ControlPlane(config) as control:
        models = await control.models()
    if not models:
        raise RunError(f"{config.urls[0]}/v1/models lists no model: set target.model")
    model = f"{models[0]['id']}"
    if len(model) > MODEL_CHARS_MAX or not model.isprintable():
        raise RunError(
            f"{config.urls[0]}/v1/models names its model by {len(model):,} characters that cannot all be "
            "printed: set target.model"
        )
    return config.model_copy(update={"model": model})


async def server_counters(config: TargetConfig) -> ServerCounters | None:
    """Return what the target's own counters say now; None where they cannot be read."""
    async with ControlPlane(config) as control:
        try:
            return read_counters(await control.metrics())
        except RunError:
            return None


async def occupancy(config: TargetConfig) -> float | None:
    """Return the share of the servers' KV memory that requests are using; None where it cannot be read."""
    async with ControlPlane(config) as control:
        try:
            return read_occupancy(await control.metrics())
        except RunError:
            return None


async def forgets(config: TargetConfig) -> bool:
    """Let the target empty its prefix caches; False where it cannot."""
    async with ControlPlane(config) as control:
        return await control.forget()
