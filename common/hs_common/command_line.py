"""What the command lines of all our programs have in common: every misuse is one line on stderr and status 2; -V, -h."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import click

from hs_common.errors import RefusedError, StoppedError

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


class OneLine:
    """Mixed into commands that are programs."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - as in click
        """Run the command and exit."""
        name = extra.get("prog_name") or _program()
        open_standard_streams()
        try:
            status = super().main(*args, **(extra | {"standalone_mode": False}))  # type: ignore[misc]
        except click.exceptions.NoArgsIsHelpError as exc:
            leave(2, exc.format_message())
        except click.ClickException as exc:
            leave(2, f"{name}: {_explained(exc)}")
        except RefusedError as exc:
            leave(2, f"{name}: {exc}")
        except StoppedError as exc:
            leave(3, f"{name}: {exc}")
        except (KeyboardInterrupt, click.Abort):
            leave(130)
        except OSError as exc:
            if not _is_of_echo(exc):
                raise
            leave(3, f"{name}: stdout: {exc.strerror}")
        leave(status if isinstance(status, int) else 0)


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


def open_standard_streams() -> None:
    """Open what of stdin, stdout and stderr is closed: else a database or a socket would get its number, and be written to.

    `sys.stdin` stays None where it was closed, for who must know.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            os.set_inheritable(fd, True)  # noqa: FBT003 - it takes no keyword
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


def say(text: str) -> None:
    """Tell people on stderr what is no result and no error, in a line that begins as those of errors do."""
    click.echo(f"{_program()}: {text}", err=True)


def leave(status: int, line: str = "") -> NoReturn:
    """End without the interpreter's teardown: nothing is left to close, and it takes longer than the end of a run may."""
    if line:
        with contextlib.suppress(OSError):  # a full disk behind stderr must not change the status
            sys.stderr.write(f"{line}\n")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(status)


def _program() -> str:
    return os.path.basename(sys.argv[0])


def _show_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - as click calls it
    if not asked or context.resilient_parsing:
        return
    import zmq  # noqa: PLC0415

    from hs_common import __version__  # noqa: PLC0415

    click.echo(f"hs-cluster {__version__} (pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()})")
    context.exit()


def _is_of_echo(error: OSError) -> bool:
    """Tell whether it is what we print that cannot be written, and not a fault of another kind."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code is click.echo.__code__


def _explained(error: click.ClickException) -> str:
    """Return a misuse in one line that ends with what to do; or what else has failed, as an editor."""
    text = " ".join(error.format_message().split()).rstrip(".")
    if not isinstance(error, click.UsageError):
        return text
    if isinstance(error, click.NoSuchOption) and error.option_name in OLDER_OPTIONS:
        return f"there is no option {error.option_name}: use {OLDER_OPTIONS[error.option_name]}"
    if "(::: " in text:
        return "::: is of GNU parallel: give the lines in FILE or on stdin, and the command by -t"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "hs-cluster"
    return f"{text}: see {command} --help"
