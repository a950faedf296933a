"""Answers that a store remembers: so that a request which had to be said twice is done once.

The answer is written in the transaction that does what was asked; who asks with the same key again gets it and changes nothing.
"""

from hs_scheduler.stores.session import Session

KEPT_S = 86_400.0
"""Nobody asks again after so long: a command gives up within minutes. By the clock, and after the answer that came last: a clock
that is set forward makes none old."""

_FORGET = "DELETE FROM answered WHERE given_at < ? AND given_at < (SELECT max(given_at) FROM answered) - ?"


class Answers(Session):
    """Answers by key, and where the one who gives them is found."""

    def announce(self, control: str) -> None:
        """Say to those who find the database owned where the connection file is by which its owner can be asked."""
        self._engine.announce(control)

    def answer_to(self, key: bytes) -> bytes | None:
        """Return the answer that was given to this key, or None."""
        found = self._engine.execute("SELECT answer FROM answered WHERE asked = ?", (key,)).fetchone()
        return None if found is None else bytes(found[0])

    def remember(self, key: bytes, answer: bytes, now: float) -> None:
        """Keep an answer, inside the transaction that it is about."""
        self._writing()
        self._engine.execute("INSERT INTO answered (asked, answer, given_at) VALUES (?, ?, ?)", (key, answer, now))

    def forget_answers(self, now: float) -> None:
        """Drop those that nobody asks for any more; a transaction of its own."""
        with self.transaction():
            self._engine.execute(_FORGET, (now - KEPT_S, KEPT_S))
