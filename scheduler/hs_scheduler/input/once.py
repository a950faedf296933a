"""`--once`: of an input only the lines that the database does not hold yet, by content and occurrence.

The third `echo a` of the input is there if the database holds three. So one and the same command line does for the first start
and for every later one, and lines that were added to the file meanwhile are taken up.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b

from hs_common.tasks import Detail
from hs_scheduler.input.source import Source
from hs_scheduler.stores.store import InputState, NewTask
from hs_scheduler.tasks.tags import format_line

_KEY_BYTES = 8
"""Of a million lines two differ by content and not by key once in 40 million databases."""


class Missing:
    """An input without the lines that are there already.

    Args:
        source: The whole input, from its start.
        held: (args, detail, group, priority) of each task that was submitted before; retries are none.
        as_held: What the database would hold of a task: `hs submit --template` stores the expanded line.

    """

    def __init__(
        self,
        source: Source,
        held: Iterable[tuple[bytes, Detail | None, int, int]],
        as_held: Callable[[NewTask], NewTask] = lambda task: task,
    ) -> None:
        self.source = source
        self._as_held = as_held
        self._held = Counter(_key(*task) for task in held)

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when more comes."""
        return self.source.fd

    @property
    def ended(self) -> bool:
        """Whether every line has been read."""
        return self.source.ended

    @property
    def position(self) -> int:
        """Bytes that were read."""
        return self.source.position

    def available(self) -> bool:
        """Whether `read` would find something without waiting for a descriptor to become readable."""
        return self.source.available()

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the tasks of the next lines that are missing; [] when there is none among those read now."""
        tasks = self.source.read(lines_max, bytes_max)
        return [task for task in tasks if not self._take(_key(*self._as_held(task)[:4]))] if self._held else tasks

    def state(self) -> InputState | None:
        """Return how far it has read."""
        return self.source.state()

    def _take(self, key: bytes) -> bool:
        """Whether the database holds one more of these."""
        left = self._held.get(key, 0)
        if left > 1:
            self._held[key] = left - 1
        elif left:
            del self._held[key]
        return bool(left)


def _key(args: bytes, detail: Detail | None, group: int, priority: int) -> bytes:
    # A template is no part of the line: hs submit may have added one.
    own = detail._replace(template=b"") if detail is not None else None
    return blake2b(format_line(args, own, group, priority), digest_size=_KEY_BYTES).digest()
