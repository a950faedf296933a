"""Which tasks are meant: the filters that `hs task search` and `hs task update` share.

    Filter (texts, as they were typed) ──where──▶ Where (SQL with parameters, and the functions that it calls)

A `Filter` can travel to the scheduler that owns a database; whoever applies it makes the `Where`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from hs_common.errors import RefusedError, WireError
from hs_common.values import dataclass, replace
from hs_scheduler.tasks import conditions
from hs_scheduler.tasks.conditions import Condition
from hs_scheduler.tasks.dialect import SQLITE, Dialect
from hs_scheduler.tasks.fields import Field

ENDS = {
    "failed": conditions.FAILED_ONLY,
    "succeeded": conditions.SUCCEEDED_ONLY,
    "completed": conditions.COMPLETED_ONLY,
    "remaining": conditions.REMAINING_ONLY,
}

CONDITIONS_MAX = 100
"""Of one filter. One more is refused."""

Matches = tuple[tuple[Field, Callable[[Any], bool]], ...]
"""Fields, each with what its raw value has to satisfy."""

_serial = count()
"""Two filters may be in force on one connection: their functions have different names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What was asked for; all of it has to hold. Without any part it means every task."""

    conditions: tuple[str, ...] = ()
    """`FIELD OPERATOR VALUE`."""
    tags: tuple[str, ...] = ()
    """`KEY:VALUE`, or `KEY` with any value."""
    group: int | None = None
    ended: str = ""
    """One of `ENDS`, or ""."""

    @property
    def everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Filter()

    def where(self, dialect: Dialect = SQLITE) -> "Where":
        """Return it as SQL; dialect: of the engine that will be asked.

        Raises:
            RefusedError: A part of it makes no sense.

        """
        if len(self.conditions) + len(self.tags) > CONDITIONS_MAX:
            raise RefusedError(
                f"{len(self.conditions) + len(self.tags)} conditions: at most {CONDITIONS_MAX} are allowed"
            )
        parts = [conditions.parse_condition(text) for text in self.conditions]
        parts += [conditions.tagged(text, dialect) for text in self.tags]
        if self.group is not None:
            parts.append(conditions.in_group(self.group))
        if self.ended:
            parts.append(ENDS[self.ended])
        return Where(parts)

    def split(self) -> tuple["Filter", "Matches"]:
        """Return what a database finds by itself, and what calls functions of ours: with which values.

        Raises:
            RefusedError: A part of it makes no sense.

        """
        parsed = [(text, conditions.parse_condition(text)) for text in self.conditions]
        matches = [(part.field, part.function) for _, part in parsed if part.field and part.function]
        return replace(self, conditions=tuple(text for text, part in parsed if part.function is None)), tuple(matches)

    def plain(self) -> list[Any]:
        """Return it as lists, bytes and numbers, to be sent; not every text that is typed is UTF-8."""
        return [
            [os.fsencode(text) for text in self.conditions],
            [os.fsencode(text) for text in self.tags],
            self.group,
            self.ended,
        ]

    @classmethod
    def from_plain(cls, plain: Any) -> "Filter":  # noqa: ANN401 - what a peer sent
        """Return the filter that was sent.

        Raises:
            WireError: It is none. The peer is at fault.

        """
        match plain:
            case [texts, tags, None | int() as group, str() as ended] if not ended or ended in ENDS:
                return cls(conditions=texts_of(texts), tags=texts_of(tags), group=group, ended=ended)
        raise WireError("not a filter of tasks")


def filter_of(asked: Mapping[str, Any]) -> Filter:
    """Return the filter that the options of a command ask for, by the names of their parameters (`commands.filtering`)."""
    return Filter(conditions=asked["where"], tags=asked["with_tag"], group=asked["group"], ended=asked["ended"] or "")


def texts_of(plain: Any) -> tuple[str, ...]:  # noqa: ANN401 - what a peer sent
    """Return texts that were sent as bytes.

    Raises:
        WireError: They are none.

    """
    if type(plain) is not list or not all(type(text) is bytes for text in plain):
        raise WireError("not a list of texts")
    return tuple(os.fsdecode(text) for text in plain)


def matching(matches: Matches, values: Sequence[Any]) -> bool:
    """Whether the raw values of those fields satisfy them all."""
    return all(match(value) for (_, match), value in zip(matches, values, strict=True))


class Where:
    """A filter as SQL over `fields.FROM`.

    Args:
        parts: Conditions that must all hold.

    """

    def __init__(self, parts: Sequence[Condition]) -> None:
        self.functions: dict[str, Callable[[Any], bool]] = {}
        """What the conditions call, by name; each takes one raw value."""
        texts = []
        for part in parts:
            name = f"matches_{next(_serial)}"
            if part.function is not None:
                self.functions[name] = part.function
            texts.append(f"({part.sql.replace('{function}', name)})")
        self.sql = " AND ".join(texts) or "true"
        self.values = tuple(value for part in parts for value in part.values)
