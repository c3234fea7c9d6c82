"""The watch over timeouts."""

import asyncio

from swarm.live.targets.transport.timeouts import Watch


class Member:
    """Counts how often it is checked, and may fail at it."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.checks = 0
        self._fault = fault

    def check(self, now: float) -> None:
        self.checks += 1
        if self._fault is not None:
            raise self._fault


def test_a_member_that_fails_disarms_nobody() -> None:
    bad, good, soon = Member(RuntimeError("no")), Member(), Member()
    told = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        watch = Watch(0.1)
        for member in (bad, good, soon):
            watch.add(member)
        watch.soon(bad)
        watch.soon(soon)
        async with asyncio.timeout(5):
            while min(bad.checks, good.checks, soon.checks) < 5:
                await asyncio.sleep(0.01)
        for member in (bad, good, soon):
            watch.remove(member)
        watch.close()

    asyncio.run(main())
    assert bad.checks > good.checks, "it is looked at soon, too"
    assert told, "the fault is told"
