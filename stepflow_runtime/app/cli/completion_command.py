"""`stepflow completion SHELL`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that completes commands and options in SHELL.

    \b
    bash:  eval "$(stepflow completion bash)"        in ~/.bashrc
    zsh:   eval "$(stepflow completion zsh)"         in ~/.zshrc
    fish:  stepflow completion fish | source         in ~/.config/fish/config.fish
    """
    from stepflow_runtime.app.cli.root import PROGRAM, root

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(root, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
