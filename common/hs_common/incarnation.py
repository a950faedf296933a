"""Ids of worker processes: 16 bytes, fresh for each of them.

    | origin: 8 bytes | 8 random bytes |

Who starts workers elsewhere gives each an origin, which its guardian puts into the ids of all that it starts. So they can be
named by whoever saw the guardian end, with zeros in the place of the rest, however often a worker was restarted.
"""

ID_BYTES = 16
ORIGIN_BYTES = 8

_ANY = bytes(ID_BYTES - ORIGIN_BYTES)


def origin_of(text: str) -> bytes:
    """Return the origin that a command line names in hexadecimal.

    Raises:
        ValueError: It is none.

    """
    origin = bytes.fromhex(text)
    if len(origin) != ORIGIN_BYTES:
        raise ValueError(f"an origin has {2 * ORIGIN_BYTES} digits")
    return origin


def origin_arguments(origin: bytes) -> list[str]:
    """Return what a worker's command line says of its origin; b"": nothing."""
    return ["--origin", origin.hex()] if origin else []


def all_of(origin: bytes) -> bytes:
    """Return what names every worker of an origin."""
    return origin + _ANY


def is_named(worker: bytes, name: bytes) -> bool:
    """Whether a worker is the one that is named, or of the origin that is."""
    return worker == name or (name.endswith(_ANY) and worker.startswith(name[:ORIGIN_BYTES]))
