"""`hs worker list`: what people read of an id is enough to name the worker."""

from typing import Any

import pytest

from hs_common.ids import uuid_text
from hs_scheduler.commands.status import _table


def a_worker(*parts: bytes) -> dict[str, Any]:
    return {"id": uuid_text(b"".join(parts)), "host": "n1", "slots": 2, "tasks": 0}


ORIGIN = b"origin77"


@pytest.mark.parametrize(
    ("workers", "shown"),
    [
        ([], []),
        ([a_worker(b"a" * 16), a_worker(b"b" * 16)], ["61616161", "62626262"]),
        # Started by one launcher: they begin with its origin.
        (
            [a_worker(ORIGIN, b"a" * 8), a_worker(ORIGIN, b"b" * 8)],
            ["6f726967-696e-3737-61", "6f726967-696e-3737-62"],
        ),
    ],
)
def test_ids_are_shown_so_far_that_they_differ(workers: list[dict[str, Any]], shown: list[str]) -> None:
    _, *lines = _table(workers)
    assert [line.split()[0] for line in lines] == shown
