"""Waiting for a store that cannot be written at this moment, before the daemon's loop runs and after it."""

import select
from collections.abc import Callable
from typing import TypeVar

from hs_common import limits
from hs_common.clock import monotonic
from hs_common.errors import StoppedError
from hs_common.logs import get_logger
from hs_scheduler.stores.store import StoreBusyError

log = get_logger("scheduler")

TRY_MS = 250
"""Between two tries."""

Answer = TypeVar("Answer")


class Patience:
    """Carries out steps that are transactions of their own; whoever is in the way has `limits.STORE_WAIT_S` to be done.

    Args:
        signals_fd: Readable when we are told to stop: that ends the wait too.

    """

    def __init__(self, signals_fd: int) -> None:
        self._poll = select.poll()
        self._poll.register(signals_fd, select.POLLIN)

    def carry_out(self, step: Callable[[], Answer]) -> Answer:
        """Return what the step returns, as soon as the store lets it.

        Raises:
            StoppedError: The store did not, or we are told to stop.

        """
        since = monotonic()
        told = False
        while True:
            try:
                return step()
            except StoreBusyError as exc:
                if not told:
                    log.warning("store.busy", reason=str(exc), wait_max_s=limits.STORE_WAIT_S)
                    told = True
                if monotonic() - since > limits.STORE_WAIT_S:
                    raise StoppedError(
                        f"the store could not be written for {limits.STORE_WAIT_S:.0f} s: {exc}"
                    ) from exc
                if self._poll.poll(TRY_MS):
                    raise StoppedError(f"stopped while the store could not be written: {exc}") from exc
