"""A server measured: probes of an idle one, batches, its KV pool, and a load that is held out.

Knows: targets, prompts of its own, what they took. Does not know: fleets' files, experiments, Ray.
"""
