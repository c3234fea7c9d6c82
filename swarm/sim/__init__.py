"""The second clock: agents and fleet on one heap of virtual time."""
