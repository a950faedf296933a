"""What the store in memory knows beside its tasks: the one run that it lives for, how far its input was read, who works for it.

And what it has nothing to do for, since nobody else can look into it and nothing of it outlives its process.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from hs_common.tasks import Detail
from hs_scheduler.stores.store import InputState


class MemoryRun:
    """The run of a store in memory."""

    def __init__(self) -> None:
        self._epoch = 0
        self._uid = os.urandom(16)
        self._settings: dict[bytes, dict[str, Any]] = {}
        self._input: InputState | None = None
        self._workers: set[bytes] = set()

    def take_epoch(self, cluster: bytes = b"") -> int:  # noqa: ARG002 - it lives no longer than its cluster
        """Return the next epoch."""
        self._epoch += 1
        return self._epoch

    def uid(self) -> bytes:
        """Return 16 bytes that no other store has."""
        return self._uid

    def open_run(
        self,
        run_id: bytes,
        settings: dict[str, Any],
        now: float,  # noqa: ARG002
        *,
        whole: bool = False,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the settings in force."""
        return self._settings.setdefault(run_id, settings)

    def input_state(self) -> InputState | None:
        """Return how far the input was read."""
        return self._input

    def save_input(self, state: InputState) -> None:
        """Note how far the input was read."""
        self._input = state

    def workers(self) -> set[bytes]:
        """Return the incarnations that are attached."""
        return set(self._workers)

    def worker_attached(self, worker: bytes, replaces: bytes, host: str, now: float) -> None:  # noqa: ARG002
        """Remember it, instead of `replaces`."""
        self._workers.discard(replaces)
        self._workers.add(worker)

    def worker_gone(self, worker: bytes) -> None:
        """Forget it."""
        self._workers.discard(worker)

    # --- Nothing to do ---

    def others(self) -> int:
        """Return 0: there is one run only."""
        return 0

    def close_run(self, run_id: bytes, now: float, status: int) -> None:
        """Do nothing: nobody can ask later."""

    @property
    def fd(self) -> int | None:
        """None: there is nobody else."""
        return None

    def renew_owner(self, now: float) -> None:
        """Do nothing: nobody else can own it."""

    def checkpoint(self) -> None:
        """Do nothing: there is no file to tidy."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Do nothing: there is nobody to wait for."""

    def failures_before(self, instant: float) -> int:  # noqa: ARG002
        """Return 0: the first failure came after this process was started."""
        return 0

    def submitted(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield nothing: nothing was here before."""
        return iter(())
