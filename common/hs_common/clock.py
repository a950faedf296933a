"""The two clocks. Cores never import this: time is an argument there."""

import time
from collections.abc import Callable

Clock = Callable[[], float]

monotonic: Clock = time.monotonic
"""Seconds since some fixed moment; every lease and limit is measured with it."""

wall: Clock = time.time
"""Seconds since the epoch, UTC; for what people read and for nothing else."""
