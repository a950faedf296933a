"""Pieces of a standing queue, and how a script has them accepted: a submit that ends with status 3 is done again with --once."""

import os
import random
import threading
import time
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.home import Home

SINGLES = 0.1
"""Part of the pieces that are one task."""

STOPPED = 3
"""Exit status of what could not go on."""

TRIES_MAX = 30
RETRY_S = 0.5

STEP_S = 60.0
"""A command that takes longer is stuck."""

ID_CHARS = 36


@dataclass(frozen=True, slots=True)
class Piece:
    """What one hs submit adds: the tasks `first` to `first + count - 1`."""

    first: int
    count: int
    way: str
    """file, stream, template or one."""


def cut(tasks: int, pieces: int, dice: random.Random) -> list[Piece]:
    """Return so many tasks in so many pieces: some of one task, the others of any size."""
    singles = int(pieces * SINGLES)
    rest = tasks - singles
    edges = [0, *sorted(dice.sample(range(1, rest), pieces - singles - 1)), rest]
    counts = [1] * singles + [end - start for start, end in pairwise(edges)]
    dice.shuffle(counts)
    found, first = [], 0
    for count in counts:
        way = "one" if count == 1 else dice.choice(("file", "stream", "template"))
        found.append(Piece(first, count, way))
        first += count
    return found


class Submitter:
    """Adds pieces to the standing queue of a home; several threads may use it.

    Args:
        home: Each task appends its number to the file `ran` in it.
        wrong: Takes a line for each submit that did not do or say what it should.

    """

    def __init__(self, home: Home, wrong: list[str]) -> None:
        self._home = home
        self._wrong = wrong
        self._lock = threading.Lock()
        self.again = 0
        """Submits that ended with status 3 and were done again."""

    def submit(self, piece: Piece) -> None:
        """Have a piece accepted."""
        command = b"%d\n" if piece.way == "template" else b"echo %d >>ran\n"
        text = b"".join(command % task for task in range(piece.first, piece.first + piece.count))
        file = self._home.write(f"piece{piece.first}", text)
        again: tuple[str, ...] = ()
        for _ in range(TRIES_MAX):
            match piece.way:
                case "one" if not again:
                    options: tuple[str, ...] = ("--", text.decode().rstrip())
                case "stream":
                    options = ("-f", "-")
                case "template":
                    options = ("-f", file, "--template", "echo {} >>ran")
                case _:
                    options = ("-f", file)
            stdin = text if piece.way == "stream" else b""
            done = self._home.run("hs", "submit", *again, *options, stdin=stdin, seconds=STEP_S)
            if done.returncode != STOPPED:
                break
            again = ("--once",)
            with self._lock:
                self.again += 1
            time.sleep(RETRY_S)
        os.unlink(file)
        said = done.stdout.decode().strip()
        as_expected = again or (len(said) == ID_CHARS if piece.way == "one" else said == str(piece.count))
        if done.returncode or not as_expected:
            self._wrong.append(f"{piece}: status {done.returncode}, said {said!r}, {done.stderr[-300:]!r}")
