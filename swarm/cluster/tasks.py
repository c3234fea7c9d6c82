"""A function over many arguments as Ray tasks, a bounded number at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import ray

from swarm.cluster.session import ray_session

Key = TypeVar("Key")
Result = TypeVar("Result")


def in_tasks(
    function: Callable[..., Result], work: Mapping[Key, tuple[Any, ...]], *, name: str, jobs: int | None
) -> Iterator[tuple[Key, Result | None, str | None]]:
    """Yield each key with its result as it ends, or with None and why its task was lost.

    At most `jobs` tasks are under way; None: as many as the cluster has CPUs.
    """
    with ray_session(name=name):
        at_once = jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        task = ray.remote(num_cpus=1, max_retries=1)(function)
        waiting = list(work)[::-1]
        running: dict[Any, Key] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                key = waiting.pop()
                running[task.remote(*work[key])] = key
            done, _ = ray.wait(list(running), num_returns=1)
            for one in done:
                key = running.pop(one)
                try:
                    yield key, ray.get(one), None
                except ray.exceptions.RayError as fault:
                    yield key, None, f"the task was lost: {str(fault).strip().splitlines()[-1]}"
