"""The files of a standing broker."""

import os
from pathlib import Path

import pytest

from hs_broker.standing import load_keys, publish
from hs_common.errors import RefusedError
from hs_common.site import connection_path


def test_the_file_of_control_is_there_before_that_of_a_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that is started at the same moment looks for it beside its own, once."""
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path))
    _, connections = load_keys("main")
    os.makedirs(connection_path("main", "scheduler"))  # here it cannot be written

    with pytest.raises(RefusedError):
        publish("main", connections, ("tcp://127.0.0.1:1",))

    assert os.path.exists(connection_path("main", "control"))
