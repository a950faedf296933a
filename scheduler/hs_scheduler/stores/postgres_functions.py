"""Functions of ours in questions to PostgreSQL, which cannot call Python: they are worked out here, beforehand.

    matches_7(task.args)  ──▶  (task.row = ANY ('{3,8}'::bigint[]))

Regular expressions are Python's on every engine; PostgreSQL's own would find other tasks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hs_scheduler.tasks.fields import FROM

Function = Callable[[Any], bool]


class Functions:
    """Puts the rows that functions mean in the place of their calls.

    Args:
        ask: Asks the server, and gives the rows.

    """

    def __init__(self, ask: Callable[[str], Iterable[Any]]) -> None:
        self._ask = ask
        self._functions: dict[str, Function] = {}

    @contextmanager
    def defined(self, functions: Mapping[str, Function]) -> Iterator[None]:
        """Let statements call them, for a while."""
        self._functions.update(functions)
        try:
            yield
        finally:
            for name in functions:
                del self._functions[name]

    def worked_out(self, statement: str) -> str:
        """Return a statement without calls."""
        for name, function in self._functions.items():
            start = statement.find(f"{name}(")
            if start >= 0:
                argument = _in_parentheses(statement, start + len(name))
                statement = statement.replace(f"{name}({argument})", self._rows(argument, function))
        return statement

    def _rows(self, argument: str, function: Function) -> str:
        asked = self._ask(f"SELECT task.row, {argument} FROM {FROM} ORDER BY task.row")  # noqa: S608 - ours
        rows = ",".join(str(row) for row, raw in asked if function(raw))
        return f"(task.row = ANY ('{{{rows}}}'::bigint[]))"


def _in_parentheses(text: str, start: int) -> str:
    """Return what stands between the parenthesis at `start` and the one that closes it."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return text[start + 1 : at]
    raise ValueError(f"unbalanced: {text[start:]}")
