"""Tags on lines: what counts as one, what it means, and that it can be written back."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_common.tasks import Detail
from hs_scheduler.tasks.tags import (
    PLAIN,
    TagError,
    coerce,
    format_line,
    merge,
    parse_duration,
    parse_size,
    parse_tag,
    parse_tags,
    resolve,
    split_line,
)


@pytest.mark.parametrize(
    ("line", "args", "tags"),
    [
        (b"echo a # HYPERSHELL: n:1", b"echo a", b" n:1"),
        (b"echo a # HYPERSHELL n:1", b"echo a", b" n:1"),  # the colon is optional
        (b"echo a   #HYPERSHELL:n:1", b"echo a", b"n:1"),
        (b"echo a # HYPERSHELL", b"echo a", b""),
        (b"# HYPERSHELL: n:1", b"", b" n:1"),  # a line of its own: global
        (b"  # HYPERSHELL: n:1", b"", b" n:1"),
        (b"echo 'a # HYPERSHELL: n:1'", None, None),  # inside quotes
        (b'echo "a # HYPERSHELL: n:1"', None, None),
        (b'echo "a \\" # HYPERSHELL: n:1"', None, None),  # a quote that is escaped closes nothing
        (b"echo 'a\\' # HYPERSHELL: n:1", b"echo 'a\\'", b" n:1"),  # in single quotes a backslash is only that
        (b"echo a# HYPERSHELL: n:1", None, None),  # no blank before it
        (b"echo a\\ # HYPERSHELL: n:1", None, None),  # the blank belongs to a word
        (b"echo it's # HYPERSHELL: n:1", None, None),  # a quote is open
        (b"echo # HYPERSHELLS: n:1", None, None),  # another word
        (
            b'echo "a" # HYPERSHELL: n:1 # HYPERSHELL: m:2',
            b'echo "a"',
            b" n:1 # HYPERSHELL: m:2",
        ),  # the first one counts
    ],
)
def test_a_marker_after_a_blank_and_outside_quotes_ends_the_command(
    line: bytes, args: bytes | None, tags: bytes | None
) -> None:
    assert split_line(line) == (line if args is None else args, tags)


@pytest.mark.parametrize("text", [b' k:"\\ud800"', b' k:"a \\udcff"'])
def test_half_a_character_is_a_bad_tag(text: bytes) -> None:
    """JSON can write what no database and no message can hold."""
    with pytest.raises(TagError, match="is not UTF-8"):
        parse_tags(text)


def test_a_megabyte_with_an_open_quote_is_judged_at_once() -> None:
    """Possessive patterns: no position is tried twice."""
    line = b'echo "' + b"a" * 1_000_000 + b" # HYPERSHELL: n:1"

    assert split_line(line) == (line, None)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (b"", ()),
        (b"n:1 m:2", (("n", 1), ("m", 2))),
        (b"n:1 n:2", (("n", 2),)),  # the last one wins
        (b"flag", (("flag", ""),)),
        (b"flag:", (("flag", ""),)),
        (b"url:http://host:80/x", (("url", "http://host:80/x"),)),
        (b"a:null b:true c:false d:True", (("a", None), ("b", True), ("c", False), ("d", "True"))),
        (b"a:-7 b:1.5 c:1e3 d:.5", (("a", -7), ("b", 1.5), ("c", 1000.0), ("d", 0.5))),
        (b"e:1_000 f:0x10", (("e", "1_000"), ("f", "0x10"))),
        (
            b"big:99999999999999999999 huge:1e999 nan:nan",
            (("big", "99999999999999999999"), ("huge", "1e999"), ("nan", "nan")),
        ),
        (b'a:"two words" b:"7"', (("a", "two words"), ("b", "7"))),
        ("k:\u00e4".encode(), (("k", "\u00e4"),)),
        (b"group:3 priority:-2 cores:4", (("group", 3), ("priority", -2), ("cores", 4))),
        (b"memory:1.5G timeout:1h30m", (("memory", 1610612736), ("timeout", 5400.0))),
    ],
)
def test_tags_are_keys_with_coerced_values(text: bytes, tags: object) -> None:
    assert parse_tags(text) == tags


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"n:1 :2 m:3", ":2"),
        (b"a*b:1", "a*b:1"),
        (b"group:x", "group:x"),
        (b"group", "group:"),
        (b"group:99999999999", "group:99999999999"),
        (b"cores:0", "cores:0"),
        (b"memory:lots", "memory:lots"),
        (b"memory:0", "memory:0"),
        (b"timeout:soon", "timeout:soon"),
        (b"timeout:0", "timeout:0"),
        (b'k:"open', 'k:"open'),
        (b"k:\xff", "xff"),
        (b"k:" + b"x" * 2000, "k:xxx"),
        (b" ".join(b"k%d" % i for i in range(101)), "101 tags"),
        (b'k:"a\\u0000b"', "has a NUL"),
    ],
)
def test_a_bad_tag_is_named(text: bytes, named: str) -> None:
    with pytest.raises(TagError) as caught:
        parse_tags(text)

    assert named in str(caught.value)


def test_an_argument_is_one_tag_and_needs_no_quotes() -> None:
    assert parse_tag("note:two words") == ("note", "two words")
    assert parse_tag("memory:1K") == ("memory", 1024)
    assert parse_tag("flag") == ("flag", "")


def test_a_line_has_no_more_tags_with_those_before_it_than_alone() -> None:
    """Each line on its own may bring new ones: without an end they would be with every task."""
    before = parse_tags(b" ".join(b"k%d" % i for i in range(100)))

    assert len(merge(before, parse_tags(b"k1:x"))) == 100
    with pytest.raises(TagError, match="101 tags"):
        merge(before, parse_tags(b"one-more"))


def test_the_tags_of_a_line_win_over_those_before_it() -> None:
    assert merge((("a", 1), ("group", 5)), (("a", 2), ("b", 3))) == (("a", 2), ("group", 5), ("b", 3))


def test_reserved_tags_set_fields_and_are_no_tags() -> None:
    tags = parse_tags(b"n:1 group:3 priority:-2 cores:4 memory:1K timeout:90")

    assert resolve(tags) == (Detail(90.0, 4, 1024, (("n", 1),), b""), 3, -2)
    assert resolve(()) == PLAIN
    assert resolve((("group", 3),)) == (None, 3, 0)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1K", 1024), ("1kb", 1024), ("1.5M", 1572864), ("2GiB", 2**31), ("1T", 2**40), ("1P", 2**50)],
)
def test_a_size_is_bytes_with_an_optional_unit_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1X", "1 M", "0", "9999999P", "1e3", "\u0661"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("1.5s", 1.5), ("10m", 600.0), ("1h30m", 5400.0), ("2d", 172800.0), ("0.001", 0.001)],
)
def test_a_duration_is_seconds_or_days_hours_minutes_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1x", "m10", "0", "1e300", "2000000d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_duration(text)


values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
)
keys = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True).filter(
    lambda key: key not in ("group", "priority", "cores", "memory", "timeout")
)


@given(
    tags=st.dictionaries(keys, values, max_size=5),
    timeout=st.sampled_from([0.0, 0.001, 90.0, 1e9]),
    cores=st.integers(0, 10),
    memory=st.sampled_from([0, 1, 2**63 - 1]),
    group=st.integers(-5, 5),
    priority=st.integers(-5, 5),
)
def test_a_line_that_was_written_makes_the_same_task_again(
    tags: dict[str, object], timeout: float, cores: int, memory: int, group: int, priority: int
) -> None:
    detail = Detail(timeout, cores, memory, tuple(tags.items()), b"")  # type: ignore[arg-type]

    line = format_line(b"echo 'a b'", detail, group, priority)
    args, text = split_line(line)

    assert b"\n" not in line
    assert args == b"echo 'a b'"
    again, *order = resolve(parse_tags(text or b""))
    assert [again or Detail(0.0, 0, 0, (), b""), *order] == [detail, group, priority]
    assert [type(value) for _, value in (again.tags if again else ())] == [type(value) for value in tags.values()]


@given(st.binary(max_size=60))
def test_whatever_stands_behind_a_marker_is_tags_or_a_bad_tag(text: bytes) -> None:
    with contextlib.suppress(TagError):
        assert len(resolve(parse_tags(text))) == 3


def test_text_that_only_looks_like_a_value_stays_text() -> None:
    assert [coerce(text) for text in ("1.2.3", "+", "e5", "1e", "--1", "truely")] == [
        "1.2.3",
        "+",
        "e5",
        "1e",
        "--1",
        "truely",
    ]
