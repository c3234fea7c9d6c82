"""The door of Ray: a launcher of actors, what they ship and measure, tasks.

Knows: actors, nodes, the object store. Does not know: who is lost, what is replaced, when a run ends.
"""
