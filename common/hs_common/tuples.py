"""Named tuples by the thousand, made in C: a third of what their constructors cost, where there is one for each task.

    columns ──table──▶ rows, the first of the first values of each column

Nothing is checked: the columns must be those of the fields, in their order. What a peer sent is counted first.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

Row = TypeVar("Row", bound=tuple[Any, ...])


def maker(of: type[Row]) -> Callable[[Iterable[Any]], Row]:
    """Return what makes a named tuple of its fields in their order."""
    return partial(tuple.__new__, of)


def table(of: type[Row], *columns: Iterable[Any]) -> list[Row]:
    """Return a named tuple for each place in the columns; the shortest one ends them, `repeat` never does."""
    return list(map(maker(of), zip(*columns, strict=False)))
