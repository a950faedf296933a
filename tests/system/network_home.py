"""A home whose site is on a network file system, as statfs tells it to every program that is started in it."""

import os
from typing import Self

import pytest
from tests.faults.home import Home

from hs_common import filesystems

NFS = 0x6969

_PATCH = f"""
import os

from hs_common import filesystems

_site, _really = os.environ["HYPERSHELL_SITE"], filesystems.filesystem_type
filesystems.filesystem_type = lambda path: {NFS} if os.path.realpath(path).startswith(_site) else _really(path)
"""


class NetworkHome(Home):
    """A home on NFS; its sockets are on a local disk."""

    def __enter__(self) -> Self:
        """Enter; what Python runs at each start comes from here."""
        super().__enter__()
        self.write("sitecustomize.py", _PATCH.encode())
        self.env["PYTHONPATH"] = self.folder
        os.mkdir(self.site, 0o700)
        return self

    def pretend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let statfs tell it to this process, too."""
        really = filesystems.filesystem_type
        monkeypatch.setenv("HYPERSHELL_SITE", self.site)
        monkeypatch.setattr(
            filesystems, "filesystem_type", lambda path: NFS if path.startswith(self.site) else really(path)
        )
