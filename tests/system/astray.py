"""Put before the command line of a worker: sends those of some ranks to an address where no broker is, with little patience.

Usage: astray.py RANK,RANK... WORKER --connection FILE --patience SEC ...
"""

import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

from tests.faults.rerouted import rerouted

RANKS = ("OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
NOWHERE = "tcp://127.0.0.1:1"
PATIENCE_S = "1"


def main() -> None:
    """Become the worker."""
    astray, worker = sys.argv[1].split(","), sys.argv[2:]
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    if rank in astray:
        worker = rerouted(worker, NOWHERE, PATIENCE_S, f"{rank}-{os.getpid()}")
    os.execv(worker[0], worker)


if __name__ == "__main__":
    main()
