"""Programs of this host, as a shell finds them."""

import os

from hs_common.errors import RefusedError


def find_program(name: str, place: str) -> str:
    """Return the path of a program of this host.

    Raises:
        RefusedError: There is none.

    """
    folders = [""] if "/" in name else os.get_exec_path()
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise RefusedError(f"{place} {name}: no such program")
