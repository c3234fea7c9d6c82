"""A response read whole, within a bound on its bytes and on its time. Does not know: what it says."""

from __future__ import annotations

import asyncio

import httpx

from swarm.errors import OutOfBounds

REFUSED_BYTES_MAX = 16 * 1024
"""Of the body of a response that is no success: as much as is ever quoted."""


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, *, bytes_max: int, timeout_s: float
) -> httpx.Response:
    """Return a response whose body is there; of one that is no success, its beginning.

    Raises:
        OutOfBounds: The body is longer than `bytes_max`, or packed; or the whole took over `timeout_s`.
        httpx.HTTPError, httpx.InvalidURL: There is no response.
    """
    body = bytearray()
    try:
        # The client's own timeouts are of single reads: a server that drips passes them all.
        async with asyncio.timeout(timeout_s):
            # Unpacked, a few bytes may become gigabytes.
            async with client.stream(method, url, headers={"Accept-Encoding": "identity"}) as response:
                coding = response.headers.get("content-encoding", "identity")
                if response.is_success and coding.lower() != "identity":
                    raise OutOfBounds(f"content-encoding {coding[:40]!r} was not asked for")
                kept_max = bytes_max if response.is_success else REFUSED_BYTES_MAX
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > kept_max:
                        break
                if len(body) > kept_max and response.is_success:
                    raise OutOfBounds(f"over {bytes_max:,} bytes, the most that is read")
    except TimeoutError:
        raise OutOfBounds(f"not complete within {timeout_s:g} s") from None
    headers = [(name, value) for name, value in response.headers.raw if name.lower() == b"location"]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body[:kept_max]))
