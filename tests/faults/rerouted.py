"""Starts workers that are led to their broker another way: a launcher for hs-cluster.

Usage: rerouted.py PATIENCE_S PORT,PORT... WORKER --connection FILE --patience SEC ...

One worker for each port of this host. Its connection file is a copy in the working folder (`files`): whoever starts it sees to
it that it goes with its cluster.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hs_common.private_files import write_private

_NAME = "rerouted-{}.json"


def files(folder: str) -> Iterator[Path]:
    """Yield the connection files that were made in a folder."""
    return Path(folder).glob(_NAME.format("*"))


def rerouted(worker: Sequence[str], endpoint: str, patience_s: str, name: str) -> list[str]:
    """Return the command line of a worker that goes to another endpoint than its connection file says, with other patience.

    `name`: Of the copy, where there are others.
    """
    words = list(worker)
    # hs-cluster hands it on: without it there is nothing to change here.
    words[words.index("--patience") + 1] = patience_s
    place = words.index("--connection") + 1
    with open(words[place], encoding="utf-8") as file:
        document = json.load(file)
    words[place] = os.path.abspath(_NAME.format(name))
    write_private(words[place], json.dumps(document | {"endpoints": [endpoint]}).encode())
    return words


def main() -> int:
    """Start them and wait for all of them."""
    patience_s, ports, worker = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    started = [subprocess.Popen(rerouted(worker, f"tcp://127.0.0.1:{port}", patience_s, port)) for port in ports]
    return max(process.wait() for process in started)


if __name__ == "__main__":
    sys.exit(main())
