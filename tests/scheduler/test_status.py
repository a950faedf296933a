"""`hs status` and `hs worker list`: what people read of an answer."""

from typing import Any

import pytest

from hs_common.ids import uuid_text
from hs_scheduler.commands.status import _lines, _table


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


def test_why_tasks_wait_is_said_and_a_scheduler_of_before_an_upgrade_need_not_know() -> None:
    numbers = dict.fromkeys(
        ("pid", "slots", "queued", "running", "succeeded", "failed", "cancelled", "rate", "eta_s"), 0
    )
    flags = dict.fromkeys(("draining", "reading"), False)
    answer: dict[str, Any] = {
        "host": "n1",
        "version": "0",
        "database": "",
        "workers": [],
        "autoscaling": None,
        "held_by_group": None,
    }
    answer |= numbers | flags

    assert not [line for line in _lines(answer) if "too large" in line or "hold" in line]
    assert "  on hold  2: hs task update --release lets them go\n" in _lines(answer | {"on_hold": 2})
    assert "     held  by tasks of group 0 that failed or are on hold\n" in _lines(answer | {"held_by_group": 0})
    assert [line for line in _lines(answer | {"fits_nobody": 3}) if "too large  3 of what is queued" in line]
