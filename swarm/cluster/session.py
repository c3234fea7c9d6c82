"""Ray itself: joined where there is a cluster, started where there is none, and left as it was found."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


@contextmanager
def ray_session(*, name: str) -> Iterator[None]:
    """Be connected to Ray: within a job or by RAY_ADDRESS to that cluster, else to a local one of our own."""
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        address = os.environ.get("RAY_ADDRESS") or "local"
        ray.init(
            address=address,
            namespace=f"swarm-{name}",
            include_dashboard=False if address == "local" else None,
            log_to_driver=True,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        if started:
            ray.shutdown()
