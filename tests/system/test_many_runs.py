"""Many runs: every task of each once, no clash, nothing left. `make faults` does two hundred."""

import pytest
from tests.faults.many import at_once, in_a_row

pytestmark = pytest.mark.system


def test_runs_one_after_the_other_leave_nothing_behind() -> None:
    assert in_a_row(10) == []


def test_runs_at_the_same_time_do_not_meet() -> None:
    """Two of them open a port: the second takes the next free one."""
    assert at_once(10) == []
