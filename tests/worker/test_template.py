"""Templates: what is ours, and what stays as it is."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_worker.template import Templates, compile_template, quote


@pytest.mark.parametrize(
    ("template", "args", "command"),
    [
        (b"{}", b"a  b", b"a  b"),
        (b"echo {}", b"a", b"echo a"),
        (b"echo { } {\t}", b"a", b"echo a a"),
        (b"echo {q}", b"it's", b"echo 'it'\"'\"'s'"),
        (b"echo { q }", b"plain", b"echo plain"),
        (b"{{}} {}", b"x", b"{} x"),
        (b"{{q}}", b"x", b"{q}"),
        (b"{{ }}", b"x", b"{ }"),
        (b"${Y}-{}", b"5", b"${Y}-5"),  # a group after $ is never ours
        (b"${} {}", b"x", b"${} x"),
        (b"${{}} {}", b"x", b"${{}} x"),
        (b"awk '{print $1}' {}", b"f", b"awk '{print $1}' f"),
        (b"echo {a,b} {{a}} {1..3}", b"x", b"echo {a,b} {{a}} {1..3}"),
        (b"constant", b"x", b"constant"),
        (b"", b"x", b""),
        (b"caf\xe9 {}", b"\xff", b"caf\xe9 \xff"),
        (b"{}{}", b"ab", b"abab"),
    ],
)
def test_a_template_expands(template: bytes, args: bytes, command: bytes) -> None:
    """COMMANDS section 2, as far as it is there."""
    assert compile_template(template)(args) == command


def test_what_was_inserted_is_not_expanded_again() -> None:
    """Args are never a template."""
    assert compile_template(b"a {} b {q}")(b"{}") == b"a {} b '{}'"


def test_a_task_brings_its_own_template_or_gets_ours() -> None:
    """However many there are, the right one is used."""
    templates = Templates(b"own {}")

    assert templates.expand(b"", b"x") == b"own x"
    assert [templates.expand(b"%d {}" % n, b"x") for n in range(100)] == [b"%d x" % n for n in range(100)]


@given(st.binary(max_size=40).filter(lambda args: b"\0" not in args))
def test_a_quoted_word_is_one_word(args: bytes) -> None:
    """As the shell reads it."""
    text = args.decode("latin-1")
    assert shlex.split(quote(args).decode("latin-1")) == [text]
