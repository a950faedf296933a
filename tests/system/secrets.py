"""Where a secret key must never be: what every process shows of itself, and what is written."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.faults.home import Home
from tests.faults.processes import everyone
from zmq.utils import z85

_SECRET = re.compile(rb'"secret": "([^"]+)"')


def kept(home: Home) -> dict[str, list[bytes]]:
    """Return the files of a home in which secret keys are kept, and these."""
    found = {path: _SECRET.findall(content) for path, content in written(home.folder).items() if path.endswith(".json")}
    return {path: keys for path, keys in found.items() if keys}


def shown() -> dict[str, bytes]:
    """Return what `ps` and /proc show of every process of this machine, sshd, launchers and tasks included."""
    seen = {"ps": subprocess.run(["ps", "axeww"], check=True, capture_output=True).stdout}
    for pid in everyone():
        for what in ("cmdline", "environ"):
            seen[f"{what} of {pid}"] = _content(f"/proc/{pid}/{what}")
    return seen


def written(*folders: str | Path) -> dict[str, bytes]:
    """Return path -> content of every file below these folders."""
    paths = [os.path.join(place, name) for folder in folders for place, _, names in os.walk(folder) for name in names]
    return {path: _content(path) for path in paths if os.path.isfile(path)}


def places(keys: Iterable[bytes], seen: dict[str, bytes]) -> list[str]:
    """Return where one of these keys stands: as text, raw, or in hexadecimal."""
    forms = [form for key in keys for form in (key, z85.decode(key), z85.decode(key).hex().encode())]
    return [place for place, content in seen.items() if any(form in content for form in forms)]


def _content(path: str) -> bytes:
    """Return what is in a file; b"" where there is none any more."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
