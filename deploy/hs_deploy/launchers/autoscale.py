"""Whether one more worker should be started: a pure function of what was asked for and what is there. No IO.

    pressure   = toc / (factor * average duration)
    toc        = remaining tasks ÷ throughput           seconds until all is done
    throughput = slots ÷ average duration               tasks per second; slots: connected, or launched and not yet connected

A decision is one step up or none. Nothing is ever stopped: workers leave by themselves (`-T`).
"""

from typing import Any, Literal

from hs_common.values import dataclass

FIXED = "fixed"
DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What was asked for."""

    mode: Literal["fixed", "dynamic"]
    factor: float = 1.0
    period_s: float = 60.0
    """Between two decisions."""
    init_size: int = 1
    min_size: int = 0
    max_size: int = 2
    """Bounds `dynamic` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What is there now."""

    units: int
    """Launched and not ended."""
    slots: int
    """Of connected workers, and of launched ones that are not yet connected."""
    remaining: int
    """Tasks of the active group that are not finished."""
    average_s: float | None
    """Mean duration of the last tasks that finished; None: none has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, why, and by which numbers."""

    start: bool
    reason: str
    units: int
    slots: int
    remaining: int
    average_s: float | None = None
    toc_s: float | None = None
    pressure: float | None = None

    def numbers(self) -> dict[str, Any]:
        """Return all of it, for the log and for `hs status`."""
        from dataclasses import asdict  # noqa: PLC0415 - `inspect` comes with it, and few clusters are scaled

        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def decide(policy: Policy, census: Census) -> Decision:
    """Return whether to start one more."""
    toc_s, pressure = _pressure(policy, census)
    start, reason = _judge(policy, census, pressure)
    return Decision(
        start=start,
        reason=reason,
        units=census.units,
        slots=census.slots,
        remaining=census.remaining,
        average_s=census.average_s,
        toc_s=toc_s,
        pressure=pressure,
    )


def _pressure(policy: Policy, census: Census) -> tuple[float | None, float | None]:
    """Return (toc, pressure); None: unknown."""
    average_s = census.average_s
    if not average_s or not census.slots:
        return None, None
    toc_s = census.remaining / (census.slots / average_s)
    return toc_s, toc_s / (policy.factor * average_s)


def _judge(policy: Policy, census: Census, pressure: float | None) -> tuple[bool, str]:
    if census.units < policy.min_size:
        return True, f"{census.units} of at least {policy.min_size}"
    if not census.units and census.remaining:
        if policy.mode == DYNAMIC and not policy.max_size:
            return False, "tasks remain, but --max-size is 0"
        return True, "tasks remain, and there is no worker"
    if policy.mode == FIXED:
        return False, "enough"
    if pressure is None:
        return False, "nothing has finished yet" if census.remaining else "nothing to do"
    if pressure <= 1:
        return False, "the pressure is low"
    if census.units >= policy.max_size:
        return False, f"the pressure is high, but {policy.max_size} is the most"
    return True, "the pressure is high"
