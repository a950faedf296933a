"""Which lines need no shell. What they then do is compared in integration/test_worker_tasks.py."""

import pytest

from hs_worker.execution.direct import choose_split, split_direct


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (b"sort -u a.txt", [b"sort", b"-u", b"a.txt"]),
        (b"  ls\t-l  ", [b"ls", b"-l"]),
        (b"./tool a,b a:b +x @y -- --long", [b"./tool", b"a,b", b"a:b", b"+x", b"@y", b"--", b"--long"]),
        (b"caf\xe9 \xff", [b"caf\xe9", b"\xff"]),
        (b"a\rb", [b"a\rb"]),  # no blank to a shell
    ],
)
def test_a_line_without_syntax_is_split_at_blanks(command: bytes, argv: list[bytes]) -> None:
    """Space and tab, nothing else."""
    assert split_direct(command) == argv


@pytest.mark.parametrize("character", [b"%c" % code for code in b"|&;<>()$`\\\"'*?[]#~=%{}!\n"])
def test_any_character_of_the_shell_needs_one(character: bytes) -> None:
    """DESIGN section 6, one by one."""
    assert split_direct(b"ls a" + character) is None


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b" \t",
        b"echo hi",
        b"true",
        b"cd /",
        b".",
        b": x",
        b"exit 3",
        b"if",
        b"test -f x",
        b"time ls",
        b"source x",
        b"kill 1",
    ],
)
def test_builtins_and_keywords_need_one(command: bytes) -> None:
    """The shell does these itself."""
    assert split_direct(command) is None


@pytest.mark.parametrize(
    ("shell", "environment", "direct"),
    [
        ("/bin/sh", {}, True),
        ("/bin/dash", {}, True),
        ("/bin/bash", {}, True),
        ("/bin/sh", {b"BASH_ENV": b"x"}, True),  # sh does not read it
        ("/bin/bash", {b"BASH_ENV": b"x"}, False),
        ("/bin/sh", {b"BASH_FUNC_ls%%": b"() { :; }"}, False),
        ("/bin/zsh", {}, False),  # reads ~/.zshenv
        ("/bin/csh", {}, False),
        ("/usr/bin/python3", {}, False),
    ],
)
def test_only_shells_that_we_know_are_left_out(shell: str, environment: dict[bytes, bytes], direct: bool) -> None:
    """What may define functions or aliases first is always asked."""
    split = choose_split(shell, {b"PATH": b"/bin", **environment})

    assert split(b"ls") == ([b"ls"] if direct else None)


def test_without_a_path_the_shell_finds_programs() -> None:
    """Its default is not execvp's."""
    assert choose_split("/bin/sh", {})(b"ls") is None
