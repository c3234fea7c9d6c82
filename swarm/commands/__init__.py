"""One file a command: what `swarm X` does from start to end. Decisions are in the rooms below."""
