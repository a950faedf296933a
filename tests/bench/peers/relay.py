"""The bare relay: what ours sends at `--no-db`, over CURVE, DEALER - ROUTER - DEALER, three processes, and nothing else.

    python relay.py FILE [TASKS_PER_BUNDLE] [TASKS_PER_RESULT]

    source ──Submit: headers, a body per bundle──▶ ROUTER ──▶ sink
           ◀──Result: outcomes, closed bundles────        ◀──

A body, a header and an outcome are those of the protocol, packed and unpacked as there: as many, of the same size. Nothing is
decided, recorded, checked, acknowledged or repeated, and the router opens nothing.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from struct import Struct
from typing import Any

import msgpack
import zmq

MESSAGE_TASKS = 2_500
"""In one message of bundles: what ours sends to a worker that executes nothing (2,700 to 2,900 measured, for -b 1 and -b 100)."""

RESULT_TASKS = 500
"""In one message of outcomes: 470 with -b 1 (measured likewise); with -b 100 it is 2,000."""

WINDOW_TASKS = 10_000
"""On the way at once: what ours gives to one worker."""

END = b""

HEAD = Struct("<I")
"""Bytes of the part that says what follows."""

NUMBERS = Struct("<QQddddQ")
"""A success: row, dispatch, start, duration, processor times, memory."""

SUCCESS = Struct("<BBQQddddQ")
"""The same as msgpack has bytes: 0xC4, and how many."""

NAME = b"n" * 16
"""Stands for a session, or for a worker."""


def framed(head: tuple[object, ...], body: bytes) -> bytes:
    packed: bytes = msgpack.packb(head)
    return HEAD.pack(len(packed)) + packed + body


def opened(frame: bytes) -> tuple[Any, int]:
    """Return what stands at the head of a message, and where its body begins."""
    (size,) = HEAD.unpack_from(frame)
    return msgpack.unpackb(frame[HEAD.size : HEAD.size + size]), HEAD.size + size


def dealer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, name: bytes, server: bytes) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.routing_id = name
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = server
    socket.connect(endpoint)
    return socket


def route(endpoint: str, secret: bytes, noted: Callable[[bytes], bytes] = bytes) -> None:
    """Forward every frame to the other one, as `noted` returns it, until the sink has left."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.curve_server = True
        router.curve_secretkey = secret
        router.bind(endpoint)
        other = {b"source": b"sink", b"sink": b"source"}
        early = []
        while (first := router.recv_multipart())[0] != b"sink":  # nothing may be sent to it before it spoke
            early.append(first)
        for _, frame in early:
            router.send_multipart((b"sink", noted(frame)))
        ended = 0
        while ended < 2:
            peer, frame = router.recv_multipart()
            router.send_multipart((other[peer], noted(frame)))
            ended += frame == END
        router.linger = 2000


def serve(endpoint: str, server: bytes, result_tasks: int) -> None:
    """Answer each bundle with its outcomes."""
    outcomes: list[bytes] = []
    closed: list[int] = []
    sequence = 0
    with zmq.Context() as context, dealer(context, endpoint, b"sink", server) as socket:

        def answer() -> None:
            nonlocal sequence
            sequence += 1
            body = msgpack.Packer().pack_array_header(len(outcomes)) + b"".join(outcomes)
            socket.send(framed((NAME, NAME, sequence, sequence, len(outcomes), tuple(closed)), body))
            outcomes.clear()
            closed.clear()

        socket.send(b"here")
        while (frame := socket.recv()) != END:
            (_, headers), at = opened(frame)
            for bundle, _, size, _ in headers:
                _, tasks = msgpack.unpackb(frame[at : at + size])
                at += size
                for row, _, dispatch, _, _, _ in tasks:
                    outcomes.append(SUCCESS.pack(0xC4, NUMBERS.size, row, dispatch, 1.0, 0.001, 0.0, 0.0, 0))
                closed.append(bundle)
                if len(outcomes) >= result_tasks:
                    answer()
            if outcomes:
                answer()
        socket.send(END)
        socket.linger = 2000


def feed(endpoint: str, server: bytes, path: str, bundle_tasks: int) -> int:
    """Send the lines of a file in bundles; return how many outcomes came back."""
    done = sent = bundles = 0
    uid = os.urandom(16)
    pack = msgpack.Packer().pack
    with zmq.Context() as context, dealer(context, endpoint, b"source", server) as socket, open(path, "rb") as file:
        while True:
            lines = list(islice(file, MESSAGE_TASKS))
            if lines:
                tasks = [(row, uid, 1, 1, line[:-1], None) for row, line in enumerate(lines, sent + 1)]
                bodies = [pack((b"/", tasks[at : at + bundle_tasks])) for at in range(0, len(tasks), bundle_tasks)]
                headers = [
                    (bundle, bundle_tasks, len(body), (0, 0, 0.0)) for bundle, body in enumerate(bodies, bundles + 1)
                ]
                socket.send(framed((NAME, headers), b"".join(bodies)))
                sent += len(tasks)
                bundles += len(bodies)
            while done < sent and (not lines or sent - done + MESSAGE_TASKS > WINDOW_TASKS or socket.poll(0)):
                frame = socket.recv()
                _, at = opened(frame)
                done += len(msgpack.unpackb(frame[at:]))
            if not lines:
                socket.send(END)
                socket.recv()
                return done


def conduct(
    route: Callable[[str, bytes], None],
    serve: Callable[[str, bytes, int], None],
    feed: Callable[[str, bytes, str, int], int],
) -> None:
    """Fork a router and a sink, be the source, as the command line asks; print how many tasks ended."""
    path, bundle_tasks, result_tasks = (*sys.argv[1:], *("1", str(RESULT_TASKS))[len(sys.argv) - 2 :])
    server, secret = zmq.curve_keypair()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/relay"
        if not os.fork():
            route(endpoint, secret)
            os._exit(0)
        if not os.fork():
            serve(endpoint, server, int(result_tasks))
            os._exit(0)
        print(feed(endpoint, server, path, int(bundle_tasks)))
        os.wait()
        os.wait()


if __name__ == "__main__":
    conduct(route, serve, feed)
