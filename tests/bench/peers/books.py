"""The relay that keeps books: relay.py, and the least that a scheduler, a broker and a worker must note of each task.

    python books.py FILE [TASKS_PER_BUNDLE] [TASKS_PER_RESULT]

    source  a row and its bundle, until its outcome came and was acknowledged
    router  who has which bundle
    sink    what waits, two tasks that run at a time with two looks at the clock each, and Results until acknowledged

No limits, failures, retries, groups, deadlines, templates, logs or transactions: what Python itself costs for the books alone,
so the least that a control plane in it can come to.
"""

import os
import sys
from collections import deque
from itertools import islice
from time import monotonic
from typing import Any

import msgpack
import zmq

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))

from tests.bench.peers import relay
from tests.bench.peers.relay import (
    END,
    MESSAGE_TASKS,
    NAME,
    NUMBERS,
    SUCCESS,
    WINDOW_TASKS,
    dealer,
    framed,
    opened,
)

SLOTS = 2
SUBMIT, RESULT, COMMITTED = 2, 6, 3
"""Fields at the head of each message: they tell which it is."""


def route(endpoint: str, secret: bytes) -> None:
    """Forward every frame to the other one, and note which bundle is where."""
    leases: dict[int, Any] = {}

    def noted(frame: bytes) -> bytes:
        if frame == END:
            return frame
        head, at = opened(frame)
        if len(head) == SUBMIT:
            leases.update((header[0], header) for header in head[1])
        elif len(head) == RESULT:
            for bundle in head[5]:
                del leases[bundle]
        return framed(tuple(head), frame[at:])

    relay.route(endpoint, secret, noted)


def serve(endpoint: str, server: bytes, result_tasks: int) -> None:
    """Start each task in a slot, end it, tell of it."""
    waiting: deque[tuple[Any, int]] = deque()
    left: dict[int, int] = {}
    kept: dict[int, bytes] = {}
    outcomes: list[bytes] = []
    closed: list[int] = []
    sequence = 0
    with zmq.Context() as context, dealer(context, endpoint, b"sink", server) as socket:

        def end(task: Any, bundle: int, started_at: float) -> None:
            took = monotonic() - started_at
            outcomes.append(SUCCESS.pack(0xC4, NUMBERS.size, task[0], task[2], started_at, took, 0.0, 0.0, 0))
            left[bundle] -= 1
            if not left[bundle]:
                del left[bundle]
                closed.append(bundle)

        socket.send(b"here")
        while (frame := socket.recv()) != END:
            head, at = opened(frame)
            if len(head) == COMMITTED:
                del kept[head[2]]
                continue
            for bundle, count, size, _ in head[1]:
                _, tasks = msgpack.unpackb(frame[at : at + size])
                at += size
                left[bundle] = count
                waiting.extend((task, bundle) for task in tasks)
            while waiting:
                slots = [(*waiting.popleft(), monotonic()) for _ in range(min(SLOTS, len(waiting)))]
                for run in slots:
                    end(*run)
                if len(outcomes) >= result_tasks or not waiting:
                    sequence += 1
                    body = msgpack.Packer().pack_array_header(len(outcomes)) + b"".join(outcomes)
                    kept[sequence] = framed((NAME, NAME, sequence, sequence, len(outcomes), tuple(closed)), body)
                    socket.send(kept[sequence])
                    outcomes.clear()
                    closed.clear()
        socket.send(END)
        socket.linger = 2000


def feed(endpoint: str, server: bytes, path: str, bundle_tasks: int) -> int:
    """Send the lines of a file in bundles; return how many rows ended."""
    sent = bundles = ended = 0
    prefix = os.urandom(8)
    pack = msgpack.Packer().pack
    rows: dict[int, tuple[Any, int]] = {}
    out: dict[int, dict[int, int]] = {}
    with zmq.Context() as context, dealer(context, endpoint, b"source", server) as socket, open(path, "rb") as file:

        def hear() -> int:
            frame = socket.recv()
            head, at = opened(frame)
            outcomes = msgpack.unpackb(frame[at:])
            for row, dispatch, _, _, _, _, _ in NUMBERS.iter_unpack(b"".join(outcomes)):
                task, bundle = rows[row]
                if task[2] == dispatch:
                    del rows[row]
                    of_bundle = out[bundle]
                    del of_bundle[row]
                    if not of_bundle:
                        del out[bundle]
            socket.send(framed((NAME, NAME, head[2]), b""))
            return len(outcomes)

        while True:
            lines = list(islice(file, MESSAGE_TASKS))
            if lines:
                numbered = enumerate(lines, sent + 1)
                tasks = [(row, prefix + row.to_bytes(8), 1, 1, line[:-1], None) for row, line in numbered]
                headers, bodies = [], []
                for at in range(0, len(tasks), bundle_tasks):
                    bundles += 1
                    some = tasks[at : at + bundle_tasks]
                    bodies.append(pack((b"/", some)))
                    headers.append((bundles, len(some), len(bodies[-1]), (0, 0, 0.0)))
                    out[bundles] = {task[0]: task[2] for task in some}
                    rows.update((task[0], (task, bundles)) for task in some)
                socket.send(framed((NAME, headers), b"".join(bodies)))
                sent += len(tasks)
            while ended < sent and (not lines or sent - ended + MESSAGE_TASKS > WINDOW_TASKS or socket.poll(0)):
                ended += hear()
            if not lines:
                socket.send(END)
                socket.recv()
                return ended


if __name__ == "__main__":
    relay.conduct(route, serve, feed)
