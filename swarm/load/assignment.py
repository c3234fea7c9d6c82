"""Which slots belong to which host."""


def slots_of(host: int, hosts: int, slots: int, *, in_turn: bool) -> range:
    """Return host `host`'s share of the slots; sessions keep their slots whatever the number of hosts.

    `in_turn`: slots that start one after the other share a host, so that a ramp needs one host after the
    other; otherwise they alternate, so that all hosts are equally loaded at any time.
    """
    if in_turn:
        return range(host * slots // hosts, (host + 1) * slots // hosts)
    return range(host, slots, hosts)
