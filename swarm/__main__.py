"""`python -m swarm`: the command line."""

from swarm.cli import main

main()
