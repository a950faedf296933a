"""Python expressions of templates."""

import pytest

from hs_common.expression import evaluate, value_of


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (b"21", 21),
        (b" -007 ", -7),
        (b"1.50", 1.5),
        (b"1e3", 1000.0),
        (b".5", 0.5),
        (b"true", True),
        (b"False", False),
        (b"null", None),
        (b"None", None),
        (b"1_000", "1_000"),
        (b"1e999", "1e999"),  # infinity is no number that somebody wrote
        (b"nan", "nan"),
        (b"0x10", "0x10"),
        (b"none", "none"),
        (b"a  b ", "a  b "),
        (b"", ""),
        (b"9" * 5000, "9" * 5000),  # Python converts at most 4300 digits
        (b"caf\xc3\xa9 \xff", "café \udcff"),
    ],
)
def test_args_are_a_number_a_truth_nothing_or_text(args: bytes, value: object) -> None:
    """And of no other kind: 1 is not True."""
    found = value_of(args)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "args", "printed"),
    [
        (b"x * 2", b"21", b"42"),
        (b"round(math.sqrt(x), 3)", b"2", b"1.414"),
        (b"path.splitext(x)[0]", b"a/b.c", b"a/b"),
        (b"os.sep.join([y for y in x if y != 'b'])", b"abc", b"a/c"),
        (b"dt.date(2024, 1, x) + dt.timedelta(days=1)", b"31", b"2024-02-01"),
        (b"x is None", b"null", b"True"),
        (b"x", b"\xff", b"\xff"),
        (b"1 +\n x", b"1", b"2"),
        (b"{1: 'a'}[x]", b"1", b"a"),
    ],
)
def test_the_answer_is_what_python_prints(expression: bytes, args: bytes, printed: bytes) -> None:
    assert evaluate(expression, args) == printed


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (b"1 / x", "ZeroDivisionError: division by zero"),
        (b"y", "NameError: name 'y' is not defined"),
        (b"x +", "invalid syntax"),
        (b"__import__('sys').exit(3)", "SystemExit: 3"),
        (b"chr(0xd800)", "UnicodeEncodeError: .*"),
        (b"[][" + b"9" * 400 + b"]", "IndexError: .{1,160}"),
    ],
)
def test_what_has_no_value_says_why(expression: bytes, why: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=f"^{why}$"):
        evaluate(expression, b"0")
