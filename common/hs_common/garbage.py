"""Python's search for circles of objects, out of the way of daemons that make millions of small tuples and no circles."""

import gc

_OBJECTS = 100_000
"""Allocated and not freed until Python looks for circles (default 700): each look visits what is under way, for nothing."""


def search_seldom() -> None:
    """Look seldom, and never again at what is there now: it stays for ever. To be called when a daemon is complete."""
    gc.freeze()
    gc.set_threshold(_OBJECTS)
