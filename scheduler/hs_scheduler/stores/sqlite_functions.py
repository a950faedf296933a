"""Functions of ours that SQLite calls: the regular expressions of a filter."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def defined(connection: sqlite3.Connection, functions: Mapping[str, Callable[[Any], bool]]) -> Iterator[None]:
    """Let a connection know the functions of a filter, for a while."""
    for name, function in functions.items():
        connection.create_function(name, 1, function, deterministic=True)
    try:
        yield
    finally:
        for name in functions:
            connection.create_function(name, 1, None)
