"""Templates: what is ours, and what stays as it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_common.errors import ExpansionError
from hs_common.template import Template, TemplateError

PATH = b"/a/b/c.tar.gz"
TASK = {"slot": b"3", "id": b"0190", "attempt": b"2"}


def expanded(template: bytes, args: bytes, *answers: bytes) -> bytes:
    return Template(template).fill(args, TASK, answers)


@pytest.mark.parametrize(
    ("template", "args", "command"),
    [
        (b"{}", b"a  b", b"a  b"),
        (b"echo {}", b"a", b"echo a"),
        (b"echo { } {\t}", b"a", b"echo a a"),
        (b"echo {q}", b"it's", b"echo 'it'\"'\"'s'"),
        (b"echo { q }", b"plain", b"echo plain"),
        (b"{}{}", b"ab", b"abab"),
        (b"constant", b"x", b"constant"),
        (b"", b"x", b""),
        (b"caf\xe9 {}", b"\xff", b"caf\xe9 \xff"),
        (b"{slot}/{id}/{ attempt }", b"x", b"3/0190/2"),
        # paths
        (b"{.}", PATH, b"/a/b"),
        (b"{..}", PATH, b"/a"),
        (b"{/}", PATH, b"c.tar.gz"),
        (b"{/-}", PATH, b"c.tar"),
        (b"{-}", PATH, b"/a/b/c.tar"),
        (b"{+}", PATH, b".gz"),
        (b"{++}", PATH, b"gz"),
        (b"{ / }", PATH, b"c.tar.gz"),
        (b"<{.}> <{..}> <{/}>", b"bare", b"<> <> <bare>"),
        (b"<{+}> <{++}> <{/-}>", b".bashrc", b"<> <> <.bashrc>"),
        (b"<{.}> <{/}>", b"/a/b/", b"</a/b> <>"),
        (b"{/} {-}", b"/a b/c\xff.x", b"c\xff.x /a b/c\xff"),
        (b"{..}", b"/", b"/"),
        # words
        (b"{[0]}", b"x y z", b"x"),
        (b"{[-1]}", b"x y z", b"z"),
        (b"{[1:]}", b"x y z", b"y z"),
        (b"{[:2]}", b"x y z", b"x y"),
        (b"{[::2]}", b"x y z", b"x z"),
        (b"{[-2:]}", b"x y z", b"y z"),
        (b"{[::-1]}", b"x y z", b"z y x"),
        (b"{[2:0:-1]}", b"x y z", b"z y"),
        (b"{[:]}", b"  x   y\tz ", b"x y z"),
        (b"<{[5:]}>", b"x y z", b"<>"),  # out of range is an error of an index, not of a slice
        (b"{ [ 1 : 2 ] } {[ -1 ]}", b"x y z", b"y z"),
        (b"{[0:999999999999999999]}", b"x y", b"x y"),
    ],
)
def test_a_template_expands(template: bytes, args: bytes, command: bytes) -> None:
    """COMMANDS section 2."""
    assert expanded(template, args) == command


@pytest.mark.parametrize(
    ("template", "command"),
    [
        # a group after $ is never ours
        (b"${Y}-{}", b"${Y}-x"),
        (b"${} ${q} ${.} ${[0]} ${slot} {}", b"${} ${q} ${.} ${[0]} ${slot} x"),
        (b"${{}} {}", b"${{}} x"),
        (b"${% date %} ${= 1 =} {}", b"${% date %} ${= 1 =} x"),
        (b"${X:-{}} $({})", b"${X:-x} $(x)"),
        # doubled braces are a literal form
        (b"{{}} {}", b"{} x"),
        (b"{{q}} {{ }} {{/-}} {{[1:]}} {{slot}}", b"{q} { } {/-} {[1:]} {slot}"),
        (b"{{% date @ %}} {{= x =}}", b"{% date @ %} {= x =}"),
        (b"{{nothing}} {{a}}", b"{{nothing}} {{a}}"),
        (b"{{{}}}", b"{{}}"),
        (b"{{} {}}", b"{x x}"),
        # every other brace stays as it is
        (b"awk '{print $1}' {}", b"awk '{print $1}' x"),
        (
            b"echo {a,b} {1..3} {...} {///} {+++} {--} {qq} {slots}",
            b"echo {a,b} {1..3} {...} {///} {+++} {--} {qq} {slots}",
        ),
        (
            b"ls {[a-z]} {[]} {[ ]} {[x]} {[1:2:3:4]} {[1 2]} {[1}",
            b"ls {[a-z]} {[]} {[ ]} {[x]} {[1:2:3:4]} {[1 2]} {[1}",
        ),
        (b"date +{%Y} {= open", b"date +{%Y} {= open"),
        (b'{"a": {"b": {}}}', b'{"a": {"b": x}}'),
        (b"f() { {}; }; }{ {", b"f() { x; }; }{ {"),
        (b"{\n}", b"{\n}"),
    ],
)
def test_what_is_not_ours_stays_as_it_is(template: bytes, command: bytes) -> None:
    """So shell, awk and JSON can be written as ever."""
    assert expanded(template, b"x") == command


OURS = re.compile(
    rb"\{[ \t]*(q|\.\.?|/-?|-|\+\+?|slot|id|attempt|\[[-0-9: \t]+\]|)[ \t]*\}|\{%.*%\}|\{=.*=\}", re.DOTALL
)
TEXT = st.lists(
    st.sampled_from([*(bytes([byte]) for byte in b"{}[]%=$q/.-+ ab01:\n\xff'\"\\"), b"{{", b"}}", b"${"])
).map(b"".join)


@given(TEXT.filter(lambda text: not OURS.search(text)), st.binary())
def test_literal_text_survives_unchanged(text: bytes, args: bytes) -> None:
    """Whatever it is, as long as nothing in it is one of the forms."""
    assert expanded(text, args) == text


@given(
    TEXT.filter(lambda text: not OURS.search(text) and not re.search(rb"[{%=$]\Z|\{[%=]", text)),
    TEXT.filter(
        lambda text: not OURS.search(text) and not text.startswith(b"}") and b"%}" not in text and b"=}" not in text
    ),
    st.sampled_from([b"{}", b"{ q }", b"{/}", b"{[0]}", b"{% c %}", b"{= x =}"]),
)
def test_text_around_a_form_survives_unchanged(before: bytes, after: bytes, form: bytes) -> None:
    """Only the form is replaced; doubled it becomes itself, after a dollar it stays."""
    assert expanded(before + form + after, b"w", b"w") == before + b"w" + after
    assert expanded(before + b"{" + form + b"}" + after, b"w") == before + form + after
    assert expanded(before + b"$" + form + after, b"w") == before + b"$" + form + after


def test_what_was_inserted_is_not_expanded_again() -> None:
    """Args and answers are never a template."""
    assert expanded(b"a {} b {q} {% c %}", b"{}", b"{q}") == b"a {} b '{}' {q}"


@pytest.mark.parametrize(
    "args", [b"a'b", b"$x", b"{}", b"a b", b"\xff\xfe", "é—𝄞".encode(), b'"', b"\\", b"@", b"%}", b"=}"]
)
def test_args_are_inserted_as_they_are(args: bytes) -> None:
    """Quotes, blanks, unicode, invalid UTF-8."""
    assert expanded(b"<{}>", args) == b"<" + args + b">"


@pytest.mark.parametrize(("template", "count"), [(b"{[2]}", 2), (b"{[-3]}", 2), (b"{[999999999999999999]}", 2)])
def test_an_index_out_of_range_cannot_be_expanded(template: bytes, count: int) -> None:
    """The form and how many words there are are named."""
    with pytest.raises(ExpansionError, match=re.escape(f"{template.decode()} is out of range: {count} arguments")):
        expanded(template, b"a b")


@pytest.mark.parametrize(
    ("template", "named"),
    [
        (b"{[::0]}", "{[::0]}: the step"),
        (b"{% %}", "{% %} is empty"),
        (b"{==}", "{==} is empty"),
        (b"{= 1 + =}", "{= 1 + =} is no Python expression: invalid syntax"),
        (b"{= x = 1 =}", "is no Python expression"),
        (b"{= " + b"(" * 1000 + b" =}", "is no Python expression"),
        (b"x" * 65_537, "65537 bytes are over 65536"),
    ],
)
def test_a_bad_template_is_refused(template: bytes, named: str) -> None:
    """No args would help."""
    with pytest.raises(TemplateError, match=re.escape(named)):
        Template(template)


def test_questions_are_asked_of_the_args_in_their_order() -> None:
    """Commands get the args by a variable, expressions as `x`; the answers take their places."""
    template = Template(b"a {% basename @ %} b {= x + 1 =} {} c {%date%}")

    assert [question.of(b"1'2") for question in template.questions] == [
        b"%__hs_args='1'\"'\"'2'; basename \"${__hs_args}\"",
        b"=x + 1",
        b"%date",
    ]
    assert template.plain is None
    assert template.fill(b"1'2", {}, [b"A", b"B", b"C"]) == b"a A b B 1'2 c C"


@pytest.mark.parametrize(("template", "plain"), [(b"{}", True), (b"x", True), (b"{/} {[0]}", True), (b"{slot}", False)])
def test_what_needs_the_args_alone_is_plain(template: bytes, plain: bool) -> None:
    """The way of nearly all tasks: one call, which makes the same of them."""
    compiled = Template(template)

    assert (compiled.plain is not None) is plain
    assert (compiled.plain or (lambda args: compiled.fill(args, TASK, ())))(b"a/b c") == expanded(template, b"a/b c")


def test_a_preview_knows_all_but_the_slot() -> None:
    """What only a task in its slot can expand stays as it stands."""
    template = Template(b"{slot} {id} {attempt} {% date %} {= x * 2 =} {}")

    assert template.preview(b"21") == b"{slot} {id} 1 {% date %} 42 21"
    assert template.needs_slot == (b"{slot}", b"{id}", b"{attempt}", b"{% date %}")
    with pytest.raises(ExpansionError, match=re.escape("{= y =}: NameError")):
        Template(b"{= y =}").preview(b"21")
