"""What a row of the table is, when it is met, and how the table is printed."""

import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import zmq
from tests.bench.measure import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """An absolute figure behind a judged one."""

    name: str
    value: float
    unit: str
    spread: float
    """Largest less smallest of the rounds, as a part of the median; 0.0 for a single measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What is asked of a value."""

    value: float
    unit: str
    """Of both; x for a ratio."""
    at_most: bool
    """Whether it must not be exceeded; otherwise it must be reached."""

    def __str__(self) -> str:
        """As people read it."""
        return f"{'<=' if self.at_most else '>='} {_number(self.value)} {self.unit}"


def at_least(value: float, unit: str = "x") -> Bar:
    """Return a bar that must be reached."""
    return Bar(value=value, unit=unit, at_most=False)


def at_most(value: float, unit: str = "x") -> Bar:
    """Return a bar that must not be exceeded."""
    return Bar(value=value, unit=unit, at_most=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One line of the table: a value against its bar."""

    row: str
    what: str
    value: float
    bar: Bar
    aim: str = ""
    """What we hope for, in words; "" when there is none."""
    figures: tuple[Figure, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        return self.value <= self.bar.value if self.bar.at_most else self.value >= self.bar.value

    @property
    def verdict(self) -> str:
        """Met, or by which part of the bar it is short."""
        if self.met:
            return "met"
        return f"short by {abs(self.value - self.bar.value) / self.bar.value:.0%}"


def figure(series: Series, unit: str) -> Figure:
    """Return the median of a series as a figure."""
    return Figure(name=series.name, value=series.median, unit=unit, spread=series.spread)


def figures(found: Iterable[Series], unit: str) -> tuple[Figure, ...]:
    """Return the medians of several series."""
    return tuple(figure(series, unit) for series in found)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "zmq": f"pyzmq {zmq.pyzmq_version()}, libzmq {zmq.zmq_version()}",
        "load": f"{os.getloadavg()[0]:.1f} before",
    }


def text(judged: Sequence[Judged], of: dict[str, str]) -> str:
    """Return the table for people."""
    lines = [", ".join(f"{key} {value}" for key, value in of.items()), ""]
    lines += [_line("row", "what", "value", "bar", "verdict", "aim"), "-" * 120]
    for one in judged:
        value = f"{_number(one.value)} {one.bar.unit}"
        lines.append(_line(one.row, one.what, value, str(one.bar), one.verdict, one.aim))
        for each in one.figures:
            spread = f"  (spread {each.spread:.0%})" if each.spread else ""
            lines.append(f"{'':12}  {each.name}: {_number(each.value)} {each.unit}{spread}")
    return "\n".join(lines)


def document(judged: Sequence[Judged], of: dict[str, str]) -> str:
    """Return the table for machines, one JSON document."""
    rows = [asdict(one) | {"met": one.met, "verdict": one.verdict} for one in judged]
    return json.dumps({"machine": of, "rows": rows}, indent=2)


def _line(*cells: str) -> str:
    widths = (12, 46, 14, 14, 15, 0)
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
