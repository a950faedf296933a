"""What a store is to commands: others may put tasks into it, change them and ask about them. One with a database."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hs_scheduler.stores.store import Standing, Store

if TYPE_CHECKING:
    from hs_scheduler.stores.changes import Changed, Piece
    from hs_scheduler.stores.pages import Look, Page


class QueueStore(Store, Protocol):
    """A store that others may put tasks into, and ask about them: one with a database."""

    @property
    def name(self) -> str:
        """The database, as messages call it."""

    @property
    def whole(self) -> bool:
        """Whether the tasks of all runs, and of none, are in its care."""

    def announce(self, control: str) -> None:
        """Say to those who find the database owned where the connection file is by which its owner can be asked."""

    def answer_to(self, key: bytes) -> bytes | None:
        """Return the answer that was given to this key, or None."""

    def remember(self, key: bytes, answer: bytes, now: float) -> None:
        """Keep an answer, inside the transaction that it is about."""

    def forget_answers(self, now: float) -> None:
        """Drop those that nobody asks for any more; a transaction of its own."""

    def change(self, piece: "Piece", now: float) -> "Changed":
        """Do what the user wants (`changes.py`) of the tasks of a piece, inside a transaction.

        The counts are right again when it returns.

        Raises:
            RefusedError: The change makes no sense.

        """

    def standing(self, uid: bytes) -> Standing | None:
        """Return how far the task with this id is, its retries included; None: there is none."""

    def page(self, look: "Look", enough: Callable[[], bool]) -> "Page":
        """Read a page of the tasks of all runs (`pages.page_of`).

        Raises:
            RefusedError: The question makes no sense.
            StoreBusyError: Not now.

        """

    def task(self, uid: bytes) -> tuple[int, Sequence[Any] | None]:
        """Return how many archives there are, and the raw values of `fields.FIELDS` of a task of any run, or None.

        Raises:
            StoreBusyError: Not now.

        """
