"""The command `swarm`."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def swarm() -> None:
    """Emulate a swarm of coding agents against an inference fleet."""


def main() -> None:
    """Run the command line."""
    app()
