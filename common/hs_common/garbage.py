"""Python's search for circles of objects, out of the way of those who make many objects and no circles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 100_000
"""Allocated and not freed until Python looks for circles (default 700): each look visits what is under way, for nothing."""


def search_seldom() -> None:
    """Look seldom, and never again at what is there now: it stays for ever. To be called when a daemon is complete."""
    gc.freeze()
    gc.set_threshold(_OBJECTS)


@contextmanager
def no_search() -> Iterator[None]:
    """Do not look meanwhile: what is made stays, as the classes of a large package that is imported."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
