"""What the SQL store needs of a database: SQLite's is `database.py`.

Statements are written in the part of SQL that all engines share, with `?` and `:name` for values. A row is a tuple.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from hs_scheduler.tasks.dialect import Dialect

Values = Sequence[Any] | dict[str, Any]


class Bulk(NamedTuple):
    """A statement that is carried out for many rows of values at once."""

    sql: str
    """With a `?` for each value of a row."""
    kinds: tuple[str, ...]
    """Of these values, as the schema names them: INTEGER, REAL, TEXT or BLOB."""


class Cursor(Protocol):
    """What a statement brought."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a tuple of what the columns hold
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all that is left."""

    def fetchmany(self, size: int = ...) -> list[Any]:
        """Return at most `size` rows."""

    def __iter__(self) -> Iterator[Any]:
        """Give row after row."""

    def close(self) -> None:
        """Ask for no more of them."""


class Engine(Protocol):
    """A database that this process owns until `close`."""

    dialect: Dialect
    """How it is asked for what engines write differently."""
    indexed: str
    """How READY names the index that it follows; "": the engine finds it by itself."""

    @property
    def name(self) -> str:
        """As messages call it; never with a password."""

    def close(self) -> None:
        """Give up ownership; may be called twice."""

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Call `meanwhile` over and over while a call here waits; for those that wait."""

    def begin(self) -> bool:
        """Begin a transaction; return whether somebody else has written since ours before.

        Raises:
            StoreBusyError: Not now.
            StoppedError: It is lost.

        """

    def commit(self) -> None:
        """Commit; raises as `begin`, and then nothing was changed."""

    def roll_back(self) -> None:
        """End an open transaction; some errors have ended it already."""

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Carry out one statement."""

    def execute_many(self, statement: Bulk, rows: Sequence[Sequence[Any]]) -> int:
        """Carry it out for each row of values, and return how many rows changed in all."""

    def stream(self, statement: str, values: Values = ()) -> Generator[Any, None, None]:
        """Give the rows of a query that may have millions; its order must be a total one."""

    def translated(self) -> AbstractContextManager[None]:
        """Raise the engine's errors as ours."""

    def failure(self, error: BaseException) -> Exception | None:
        """Return what an error of the engine means to us; None: it is none of the engine's."""

    def last_row(self) -> int:
        """Return the highest number that a row of `task` ever had."""

    def announce(self, control: str) -> None:
        """Say where the connection file is by which we can be asked; for whoever finds the database owned by us."""

    @property
    def fd(self) -> int | None:
        """See `Store.fd`."""

    def renew_owner(self, now: float) -> bool:
        """Say that we are alive, see `Store.renew_owner`; return whether somebody else has written since we did."""

    def checkpoint(self) -> None:
        """Tidy up, when there is nothing else to do."""
