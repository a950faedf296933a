"""Measure every row of the performance table and print it (`make bench`).

Or some of them only:

    python tests/bench/run.py --rows startup,sh --rounds 5 --json bench.json

The exit status is 0 also where a bar is missed: a figure is a fact, not a failure. It is 1 when a row could not be measured.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

from tests.bench import table
from tests.bench.bench import Bench
from tests.bench.rows import ROWS

ROUNDS = 5
"""The least that the bars ask for."""


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Measure every row of the performance table.")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"comma list of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved rounds of each (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all task counts (default: %(default)s)")
    parser.add_argument("--json", metavar="PATH", help="write the table there too, as one JSON document")
    asked = parser.parse_args()
    unknown = set(asked.rows.split(",")) - set(ROWS)
    if unknown or asked.rounds < 1 or asked.scale <= 0:
        parser.error(f"no such row: {', '.join(unknown)}" if unknown else "--rounds and --scale are positive")
    return asked


def main() -> int:
    """Measure row by row, print the table."""
    asked = arguments()
    of = table.machine() | {"rounds": str(asked.rounds)}
    judged: list[table.Judged] = []
    broken: list[str] = []
    for name in asked.rows.split(","):
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            with Bench(rounds=asked.rounds, scale=asked.scale) as bench:
                judged += ROWS[name](bench)
        except Exception as exc:  # one row that cannot be measured must not take the others' figures with it
            broken.append(f"{name}: not measured: {type(exc).__name__}: {exc}")
    print(table.text(judged, of))
    print("\n".join(broken))
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            file.write(table.document(judged, of) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
