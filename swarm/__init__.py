"""A swarm of emulated coding agents against real or emulated LLM inference fleets."""
