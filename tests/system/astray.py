"""Put before the command line of a worker: sends those of some ranks to an address where no broker is, with little patience.

Usage: astray.py RANK,RANK... WORKER --connection FILE --patience SEC ...
"""

import json
import os
import sys

from hs_common.private_files import write_private

RANKS = ("OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
NOWHERE = "tcp://127.0.0.1:1"
PATIENCE_S = "1"


def main() -> None:
    """Become the worker."""
    astray, worker = sys.argv[1].split(","), sys.argv[2:]
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    # hs-cluster hands it on: without it there is nothing to shorten here.
    worker[worker.index("--patience") + 1] = PATIENCE_S
    if rank in astray:
        place = worker.index("--connection") + 1
        with open(worker[place], encoding="utf-8") as file:
            document = json.load(file)
        worker[place] = os.path.abspath(f"worker-{os.getpid()}.json")
        write_private(worker[place], json.dumps(document | {"endpoints": [NOWHERE]}).encode())
    os.execv(worker[0], worker)


if __name__ == "__main__":
    main()
