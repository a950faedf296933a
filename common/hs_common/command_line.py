"""What the command lines of all our programs have in common: every misuse is one line on stderr and status 2; -V, -h."""

from collections.abc import Callable, Iterable
from math import isnan
from typing import Any

import click

from hs_common.ending import end_as, leave, program_name
from hs_common.errors import RefusedError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

OLDER_OPTIONS = {
    "--num-threads": "-N",
    "--num-workers": "-N",
    "--num-cores": "-N",
    "--cpus": "-N",
    "--jobs": "-N",
    "-j": "-N",
    "--max-procs": "-N",
    "--parallelism": "-N",
    "--bundle-size": "-b",
    "--retries": "-r",
    "--failures-file": "-f",
    "--results": "-c",
    "--resume": "--restart",
    "--resume-failed": "--retry-failed",
    "--max-fails": "--halt",
    "--time-limit": "-W",
    "--sshlogin": "--ssh",
    "--arg-file": "FILE",
    "-a": "FILE",
    "--stdout": "-o",
    "--stderr": "-e",
    "--database-url": "--database",
    "--ephemeral": "--no-db",
    "--logging": "-v",
    "--verbosity": "-v",
}
"""Options of older and similar tools -> ours."""

_CLOSE = 0.75
"""As similar (0..1) is a name that is offered instead of one that was mistyped."""


class Seconds(click.FloatRange):
    """A number between bounds; click takes nan for one, which is neither below nor above any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as in click
        """Return the number, or raise click's misuse."""
        seconds = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value!r} is not a valid float.", param, ctx)
        return seconds


class OneLine:
    """Mixed into commands that are programs."""

    reports_defects = False
    """As in `end_as`."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - as in click
        """Run the command and exit."""
        name: str = extra.get("prog_name") or program_name()

        def run() -> Any:  # noqa: ANN401 - as in click
            try:
                return super(OneLine, self).main(*args, **(extra | {"standalone_mode": False}))  # type: ignore[misc]
            except click.exceptions.NoArgsIsHelpError as exc:
                leave(2, exc.format_message())
            except click.ClickException as exc:
                leave(2, f"{name}: {_explained(exc, name)}")
            except click.Abort:
                leave(130)
            except OSError as exc:
                if not _is_of_echo(exc):
                    raise
                leave(3, f"{name}: stdout: {exc.strerror}")

        end_as(run, name, reports_defects=self.reports_defects)


class Program(OneLine, click.Command):
    """A command that is a program."""


def version_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add -V."""
    return click.option(
        "-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
        help="Show the versions of this program, pyzmq and libzmq.",
    )(function)  # fmt: skip


def one_of(name: str, value: str, *options: str, help: str) -> Callable[..., Any]:  # noqa: A002 - as in click
    """Add an option that stands for a value, of which one may be chosen.

    Args:
        name: Of the parameter that gets the value; None if no option of that name is given.
        value: What this one stands for.
        options: Its names, the long one last.
        help: As in click.

    """

    def choose(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - as click calls it
        context.params.setdefault(name, None)
        if not asked:
            return
        chosen = context.meta.setdefault(f"hs_common.one_of.{name}", options[-1])
        if chosen != options[-1]:
            raise RefusedError(f"{chosen} and {options[-1]} exclude each other")
        context.params[name] = value

    return click.option(*options, is_flag=True, expose_value=False, callback=choose, help=help)


def _show_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - as click calls it
    if not asked or context.resilient_parsing:
        return
    import zmq  # noqa: PLC0415

    from hs_common import __version__  # noqa: PLC0415

    click.echo(f"hs-cluster {__version__} (pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()})")
    context.exit()


def _is_of_echo(error: OSError) -> bool:
    """Tell whether it is what we print that cannot be written, and not a fault of another kind."""
    import traceback  # noqa: PLC0415 - hardly ever

    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code is click.echo.__code__


def _explained(error: click.ClickException, name: str) -> str:
    """Return a misuse in one line that ends with what to do; or what else has failed, as an editor."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        ours = OLDER_OPTIONS.get(error.option_name, "")
        if context is not None and any(ours in (*one.opts, one.human_readable_name) for one in context.command.params):
            return f"there is no option {error.option_name}: use {ours}"
        close = _close(error.option_name, error.possibilities or ())
        error = click.NoSuchOption(error.option_name, possibilities=close, ctx=context)
    text = " ".join(error.format_message().split()).rstrip(".")
    if not isinstance(error, click.UsageError):
        return text
    if "(::: " in text:
        return "::: is of GNU parallel: give the lines in FILE or on stdin, and the command by -t"
    if "({}" in text:
        return f"{text}: a command for each line is given by -t, in quotes"
    if isinstance(error, click.NoSuchOption) and context is not None and _takes_command(context.command):
        return f"{text}: if it is of the command, put -- before that"
    # Of an option that lacks its value click does not say whose it is.
    command = context.command_path if context is not None else name
    if context is not None and isinstance(context.command, click.Group) and text.startswith("No such command"):
        return f"{text}: {command} has {', '.join(context.command.list_commands(context))}"
    return f"{text}: see {command} --help"


def _takes_command(command: click.Command) -> bool:
    return any(one.name == "args" and one.nargs < 0 for one in command.params)


def _close(name: str, names: Iterable[str]) -> list[str]:
    """Return which of the names may have been meant: click's measure finds --remote-exe in --resume."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - of misuse alone

    return [one for one in names if one.startswith(name) or SequenceMatcher(None, name, one).ratio() >= _CLOSE]
