"""Who has each bundle that is out, as far as anybody said so, and which ones nobody can have any more. No IO.

Welcome: every bundle [UNCONFIRMED] ──Attached/Census name it──▶ with that worker, or waiting in the broker
└─ its worker came without it · all workers came without it · nobody is waited for ──▶ nobody's
"""

from collections.abc import Iterable

from hs_common.messages import Attached
from hs_scheduler.crew import Crew
from hs_scheduler.out import Out


class Holders:
    """Brings what is out together with the workers. What it returns is for the caller to release.

    Args:
        out: The bundles.
        crew: The workers.

    """

    def __init__(self, out: Out, crew: Crew) -> None:
        self._out = out
        self._crew = crew

    def doubt(self) -> None:
        """Note that a new session begins: whatever was on its way may be lost, and whoever has something will say so again."""
        self._crew.part()
        self._out.doubt()

    def attach(self, attached: Attached) -> list[int]:
        """Note a worker and what it has; return the bundles that it should have, and has not."""
        self._crew.attach(attached)
        owners = (attached.worker, attached.replaces) if attached.replaces else (attached.worker,)
        has = set(attached.bundles)
        disowned = [bundle for bundle, out in self._out.bundles.items() if out.worker in owners and bundle not in has]
        self._confirm(attached.bundles, attached.worker)
        return disowned

    def queue(self, bundles: Iterable[int]) -> None:
        """Note bundles that wait in the broker."""
        self._confirm(bundles, b"")

    def receive(self, worker: bytes, bundles: Iterable[int]) -> None:
        """Note bundles that have reached a worker."""
        for bundle in bundles:
            if out := self._out.bundles.get(bundle):
                out.worker = worker

    def nobodys(self) -> list[int]:
        """Return what nobody can have, once the broker told all that it knows.

        A bundle of a known worker waits for that worker; one of no known worker for all that are expected.
        """
        missing = self._crew.missing()
        worker_of = {bundle: self._out.bundles[bundle].worker for bundle in self._out.unconfirmed}
        return sorted(
            bundle for bundle, worker in worker_of.items() if (worker not in missing if worker else not missing)
        )

    def queued(self) -> list[int]:
        """Return what waits in the broker, or is on its way there or from there."""
        return [bundle for bundle, out in self._out.bundles.items() if not out.worker]

    def _confirm(self, bundles: Iterable[int], worker: bytes) -> None:
        for bundle in bundles:
            if out := self._out.bundles.get(bundle):
                out.worker = worker
                self._out.confirm(bundle)
