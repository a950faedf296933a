"""Args in a shell's hands."""

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_common.quoting import on_one_line, quote, with_args
from hs_scheduler.tasks.tags import split_line

NASTY = b'a\'b "c" $(echo run) `echo run` $HOME * \\ ; & \xff\ttab  two'


@given(st.binary(max_size=40).filter(lambda args: b"\0" not in args))
def test_a_quoted_word_is_one_word(args: bytes) -> None:
    """As the shell reads it."""
    text = args.decode("latin-1")
    assert shlex.split(quote(args).decode("latin-1")) == [text]


def output(command: bytes, shell: str = "/bin/sh") -> bytes:
    return subprocess.run([shell, "-c", command], capture_output=True, check=True).stdout


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@pytest.mark.parametrize(
    "command",
    [
        b"for x in a b\ndo\n  echo $x\ndone",
        b"echo 'it'\"'\"'s\n\\n%s' \"\\\\ $((1 + 1))\" `echo 3`\n",
        b"cat <<E\na\\tb $HOME\nE\n",
        b"# no task\necho x # HYPERSHELL: a:b",
        b"printf '%s|' a\r",
    ],
)
def test_a_command_of_several_lines_does_the_same_on_one(command: bytes, shell: str) -> None:
    """And what it is made of stays whole among tags: nothing in it is taken for some."""
    line = on_one_line(command)
    assert (b"\n" in line, split_line(line + b"  # HYPERSHELL: c:d")) == (False, (line, b" c:d"))
    assert output(line, shell) == output(command, shell)


def test_a_command_of_one_line_stays_as_it_is() -> None:
    assert on_one_line(b"echo \\n 'a  b'\r c") == b"echo \\n 'a  b'\r c"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (b"printf %s @", b"", b""),
        (b'printf %s "@"', b"", b""),
        (b"printf %s '@'", b"", b""),
        (b"printf %s x@y", b"x", b"y"),
        (b'printf %s "x @ y"', b"x ", b" y"),
        (b"printf %s 'x @ y\\'", b"x ", b" y\\"),  # a backslash in single quotes is nothing special
        (b'printf %s "$(printf %s @)"', b"", b""),
        (b'printf %s "$(printf %s "@")"', b"", b""),
        (b"printf %s \"$(printf %s '@')\"", b"", b""),
        (b'printf %s "`printf %s @`"', b"", b""),
        (b'(printf %s "@")', b"", b""),
        (b'printf %s "(" @', b"(", b""),
        (b'printf %s "it\'s " @', b"it's ", b""),
    ],
)
def test_args_are_one_word_inside_any_quotes(shell: str, command: bytes, before: bytes, after: bytes) -> None:
    """Also where they are the worst there can be."""
    assert output(with_args(command, NASTY), shell) == before + NASTY + after


@pytest.mark.parametrize(
    "command",
    [
        b"printf plain",
        b"printf %s user\\@host",
        b'set -- a b; printf %s "$@"',
        b"printf %s ${x-@}",
        b"case x in x) printf %s y;; esac",
    ],
)
def test_what_is_not_ours_does_what_it_did(command: bytes) -> None:
    """An escaped at sign, and those of the shell."""
    assert output(with_args(command, b"ARGS")) == output(command)


@settings(max_examples=60, deadline=None)
@given(st.text("@@'\"`$(){}\\ ;#<\nab", max_size=14))
def test_args_are_never_run_however_the_quotes_are_nested(command: str) -> None:
    """Whatever the command is, what stands in the args is no syntax: it would leave its mark."""
    args = b"$(echo RAN >&2) `echo RAN >&2` '; echo RAN >&2; '\" ; echo RAN >&2 ; \"\n echo RAN >&2"
    full = b": " + with_args(command.encode(), args)

    done = subprocess.run(
        ["/bin/sh", "-c", full], capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )

    assert b"RAN" not in [line.strip() for line in done.stderr.splitlines()]
