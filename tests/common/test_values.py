"""Our dataclasses are those of the standard library: what a reader knows of these holds for them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hs_common import values
from hs_common.values import replace


def point(module: Any, **how: bool) -> type[Any]:
    """Make a class by `dataclass` of one of the two modules."""

    @module.dataclass(slots=True, **how)
    class Point:
        """A place."""

        x: int
        y: float = 2.0
        names: list[str] = module.field(default_factory=list)
        secret: str = module.field(default_factory=str, repr=False)

        @property
        def far(self) -> float:
            return self.x + self.y

    return Point


def pair(module: Any) -> type[Any]:
    """Make one that checks itself."""

    @module.dataclass(frozen=True, slots=True)
    class Pair:
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError(f"{self.low} is over {self.high}")

    return Pair


def nothing(module: Any) -> type[Any]:
    """Make one without fields."""

    @module.dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    return Nothing


def outcome(run: Callable[[], Any]) -> tuple[str, Any]:
    """Return what it returns or raises, so that two of them can be compared."""
    try:
        return "returns", run()
    except (TypeError, ValueError, AttributeError) as exc:
        return type(exc).__name__, None


def outcomes(uses: list[Callable[[Any], Any]], of: type[Any]) -> list[tuple[str, Any]]:
    """Return those of all uses."""
    return [outcome(partial(use, of)) for use in uses]


HOW = [
    {"frozen": True},
    {"frozen": True, "kw_only": True},
    {"kw_only": True},
    {},
    {"eq": False},
    {"frozen": True, "eq": False},
]
USES: list[Callable[[Any], Any]] = [
    lambda of: repr(of(x=1)).split(".")[-1],
    lambda of: repr(of(1)).split(".")[-1],
    lambda of: repr(of(x=1, y=3.0, names=["a"], secret="s")).split(".")[-1],
    lambda of: of(),
    lambda of: of(x=1, z=2),
    lambda of: of(x=1).far,
    lambda of: of(x=1) == of(x=1, y=2.0, names=[]),
    lambda of: of(x=1) == of(x=2),
    lambda of: of(x=1) == (1, 2.0, [], ""),
    lambda of: of(x=1).names is of(x=1).names,
    lambda of: hash(of(x=1, names=())) == hash(of(x=1, names=())),
    lambda of: hash(of(x=1)) == hash(of(x=1)),
    lambda of: setattr(of(x=1), "x", 2),
    lambda of: delattr(of(x=1), "x"),
    lambda of: of.__match_args__,
    lambda of: (of.__name__, of.__qualname__, of.__doc__, of.__module__, of.__slots__),
    lambda of: dataclasses.asdict(of(x=1, names=["a"])),
    lambda of: dataclasses.astuple(of(x=1)),
    lambda of: [field.name for field in dataclasses.fields(of)],
    lambda of: repr(dataclasses.replace(of(x=1), y=5.0)).split(".")[-1],
    dataclasses.is_dataclass,
    lambda of: dataclasses.is_dataclass(of(x=1)),
    lambda of: hasattr(of(x=1), "__dict__"),
]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_they_are_used_as_those_of_the_standard_library(how: dict[str, bool]) -> None:
    """With the same results, and the same errors."""
    ours, theirs = point(values, **how), point(dataclasses, **how)

    assert outcomes(USES, ours) == outcomes(USES, theirs)


@pytest.mark.parametrize("make", [pair, nothing])
def test_so_are_those_with_a_check_and_those_without_fields(make: Callable[[Any], type[Any]]) -> None:
    """A check is made after the fields are set."""
    ours, theirs = make(values), make(dataclasses)
    uses: list[Callable[[Any], Any]] = [
        lambda of: repr(of(1, 2)).split(".")[-1],
        lambda of: of(2, 1),
        lambda of: repr(of()).split(".")[-1],
        lambda of: of() == of(),
        lambda of: len({of(), of()}),
        lambda of: of() == nothing(values)(),
    ]

    assert outcomes(uses, ours) == outcomes(uses, theirs)


def test_a_copy_has_other_values_where_they_are_given() -> None:
    """And is checked as any other."""
    of = pair(values)

    assert replace(of(1, 2), high=7) == of(1, 7)
    with pytest.raises(ValueError, match="3 is over 2"):
        replace(of(1, 2), low=3)


def test_values_of_different_classes_are_never_equal() -> None:
    """Whatever is in them: a message is not taken for another one."""
    assert point(values)(x=1) != point(values)(x=1)
