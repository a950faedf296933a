"""`hs completion`: what makes shells complete our commands."""

import os

import click

from hs_common.command_line import SETTINGS
from hs_deploy import completing

PLACES = {"bash": "bash/hs", "zsh": "zsh/_hs", "fish": "fish/hs.fish"}
"""Shell -> its file, which is also installed where the shell looks for it."""


@click.command(context_settings=SETTINGS)
@click.argument("shell", type=click.Choice(list(PLACES)))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="")
def completion(shell: str, words: tuple[str, ...]) -> None:
    """Print what makes SHELL complete the commands of hs.

    \b
    It is installed where shells look for it, below the folder of the installation:
      share/bash-completion/completions, share/zsh/site-functions, share/fish/vendor_completions.d
    Where they do not look there, put into the shell's own start-up file:
      source <(hs completion bash)         bash: ~/.bashrc
      source <(hs completion zsh)          zsh: ~/.zshrc, after compinit
      hs completion fish | source          fish: ~/.config/fish/config.fish
    """  # noqa: D301 - \b is click's
    if words:
        _answer(*words)
        return
    with open(os.path.join(os.path.dirname(completing.__file__), "completion", PLACES[shell])) as file:
        click.echo(file.read(), nl=False)


def _answer(*words: str) -> None:
    """Print what may stand for the last of these words: kind, value and help, with tabs between them."""
    from hs_deploy.cli import main  # noqa: PLC0415 - which has us

    for one in completing.candidates(main, words[:-1], words[-1]):
        click.echo(f"{one.kind}\t{one.value}\t{' '.join(one.help.split())}")
