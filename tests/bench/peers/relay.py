"""The bare relay: bundles of task lines over CURVE, DEALER - ROUTER - DEALER, three processes, answered with outcomes.

    python relay.py FILE [TASKS_PER_MESSAGE]

    source ──bundles──▶ ROUTER ──bundles──▶ sink
           ◀──outcomes─        ◀──outcomes─

Nothing is decided, recorded, checked or repeated: this is what the encrypted transport and packing alone cost.
"""

import os
import sys
import tempfile
from itertools import islice

import msgpack
import zmq

TASKS = 100
"""In one message."""

WINDOW = 100
"""Messages on the way at once: no more than a high-water mark holds."""

END = b""


def _dealer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, name: bytes, server: bytes) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.routing_id = name
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = server
    socket.connect(endpoint)
    return socket


def route(endpoint: str, secret: bytes) -> None:
    """Forward every frame to the other one, until the sink has left."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.curve_server = True
        router.curve_secretkey = secret
        router.bind(endpoint)
        other = {b"source": b"sink", b"sink": b"source"}
        early = []
        while (first := router.recv_multipart())[0] != b"sink":  # nothing may be sent to it before it spoke
            early.append(first)
        for _, frame in early:
            router.send_multipart((b"sink", frame))
        ended = 0
        while ended < 2:
            peer, frame = router.recv_multipart()
            router.send_multipart((other[peer], frame))
            ended += frame == END
        router.linger = 2000


def serve(endpoint: str, server: bytes) -> None:
    """Answer each bundle with its outcomes."""
    with zmq.Context() as context, _dealer(context, endpoint, b"sink", server) as socket:
        socket.send(b"here")
        while (frame := socket.recv()) != END:
            _, tasks = msgpack.unpackb(frame)
            outcomes = [(row, n, 0, 0, "", 1.0, 0.001, 0.0, 0.0, 0, b"", b"", b"") for row, _, n, _, _, _ in tasks]
            socket.send(msgpack.packb(outcomes))
        socket.send(END)
        socket.linger = 2000


def feed(endpoint: str, server: bytes, path: str, size: int) -> int:
    """Send the lines of a file in bundles; return how many outcomes came back."""
    done = sent = answered = 0
    uid = os.urandom(16)
    with zmq.Context() as context, _dealer(context, endpoint, b"source", server) as socket, open(path, "rb") as file:
        while True:
            lines = list(islice(file, size))
            if lines:
                tasks = [(sent * size + place, uid, 1, 1, line[:-1], None) for place, line in enumerate(lines, 1)]
                socket.send(msgpack.packb((b"/", tasks)))
                sent += 1
            while answered < sent and (not lines or sent - answered >= WINDOW or socket.poll(0)):
                done += len(msgpack.unpackb(socket.recv()))
                answered += 1
            if not lines:
                socket.send(END)
                socket.recv()
                return done


def main(path: str, size: int = TASKS) -> None:
    """Fork a router and a sink, be the source."""
    server, secret = zmq.curve_keypair()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/relay"
        for part, key in ((route, secret), (serve, server)):
            if not os.fork():
                part(endpoint, key)
                os._exit(0)
        print(feed(endpoint, server, path, size))
        os.wait()
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else TASKS)
