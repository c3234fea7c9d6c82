"""Which slots belong to which host."""


def slots_of(host: int, hosts: int, slots: int) -> range:
    """Return host `host`'s share of the slots; sessions keep their slots whatever the number of hosts."""
    return range(host, slots, hosts)
