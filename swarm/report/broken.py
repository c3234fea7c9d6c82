"""What is done with broken parts of traces: named on stderr and left out, or the end."""

from __future__ import annotations

import sys

from swarm.errors import TraceError, UsageError
from swarm.workload.formats import fail
from swarm.workload.formats.files import OnBroken


def handler(policy: str) -> tuple[OnBroken, list[TraceError]]:
    """Return what takes broken parts under the policy `fail` or `skip`, and the list it keeps."""
    broken: list[TraceError] = []

    def skip(error: TraceError) -> None:
        broken.append(error)
        print(f"swarm: skipped: {error}", file=sys.stderr, flush=True)

    policies = {"fail": fail, "skip": skip}
    if policy not in policies:
        raise UsageError(f"--on-broken {policy}: must be one of {', '.join(policies)}")
    return policies[policy], broken
