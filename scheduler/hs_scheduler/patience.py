"""Waiting for a store that cannot be written at this moment: in the daemon's loop, before it and after it."""

from collections.abc import Callable
from typing import TypeVar

from hs_common import limits
from hs_common.clock import monotonic
from hs_common.errors import StoppedError
from hs_common.logs import get_logger
from hs_common.signals import SignalPipe
from hs_scheduler.stores.store import StoreBusyError

log = get_logger("scheduler")

TRY_S = 0.25
"""Between two tries."""

STOPPED = "stopped while the store could not be written"
"""Of who is told to stop meanwhile: the reason for its status."""

Answer = TypeVar("Answer")


class Patience:
    """Carries out steps that are transactions; whoever is in the way has `limits.STORE_WAIT_S` to be done.

    Args:
        wait: Called between two tries, takes a moment; raises StoppedError when we are told to stop.

    """

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait

    def carry_out(self, step: Callable[[], Answer]) -> Answer:
        """Return what the step returns, as soon as the store lets it.

        Raises:
            StoppedError: The store did not, or we are told to stop.

        """
        since: float | None = None
        while True:
            try:
                return step()
            except StoreBusyError as exc:
                if since is None:
                    since = monotonic()
                    log.warning("store.busy", reason=str(exc), wait_max_s=limits.STORE_WAIT_S)
                if monotonic() - since > limits.STORE_WAIT_S:
                    raise StoppedError(
                        f"the store could not be written for {limits.STORE_WAIT_S:.0f} s: {exc}"
                    ) from exc
                self._wait()


def until_told(signals: SignalPipe) -> Callable[[], None]:
    """Return how to wait where nothing else is to be done meanwhile: any signal that was asked for tells us to stop."""

    def wait() -> None:
        if signals.wait(TRY_S):
            raise StoppedError(STOPPED)

    return wait
