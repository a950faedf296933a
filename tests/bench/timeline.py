"""Draw docs/autoscaling.svg: a real cluster that grows under work and shrinks after it. Run: python -m tests.bench.timeline."""

import json
import os
import select
import signal
import sys
from typing import NamedTuple

from tests.faults.home import Home
from tests.faults.processes import ended_within

from hs_common.clock import monotonic
from hs_common.errors import HSError
from hs_scheduler.commands.live import client_of

OPTIONS = ("-A", "dynamic", "-N1", "-I", "0", "-X", "1", "-Y", "4", "-P", "1", "-T", "3")
TASKS, TASK_S = 60, 0.5
SUBMIT_AT_S, LIMIT_S, STEP_S = 4.0, 90.0, 0.25
WIDTH, HEIGHT, LEFT, TOP = 640, 150, 50, 24


class Sample(NamedTuple):
    """What there was at an instant."""

    at: float
    workers: int
    left: int


def record() -> list[Sample]:
    """Run it; return what there was from its start until it has shrunk again."""
    samples: list[Sample] = []
    with Home() as home:
        cluster = home.start("hs-cluster", "--database", "db", *OPTIONS)
        home.write("tasks", f"sleep {TASK_S}\n".encode() * TASKS)
        began, submitted = monotonic(), False
        while (at := monotonic() - began) < LIMIT_S:
            if not submitted and at >= SUBMIT_AT_S:
                submitted = home.run("hs", "submit", "--database", "db", "-f", "tasks").returncode == 0
            if (sample := _sample(home, at)) is not None:
                samples.append(sample)
                if submitted and samples[-1].left == 0 and max(s.left for s in samples) and sample.workers <= 1:
                    break
            select.poll().poll(STEP_S * 1000)
        cluster.send_signal(signal.SIGINT)
        assert ended_within(cluster.pid, LIMIT_S)
    return samples


def _sample(home: Home, at: float) -> Sample | None:
    try:
        client = client_of(home.path("db"))
        if client is None:
            return None
        try:
            status = json.loads(client.ask("status"))
        finally:
            client.close()
    except HSError:
        return None
    return Sample(at, len(status["workers"]), status["queued"] + status["running"])


def draw(samples: list[Sample]) -> str:
    """Return the picture: two panels over the same time."""
    until = max(sample.at for sample in samples)
    panels = (
        ("tasks left", [(s.at, s.left) for s in samples], "#1f77b4"),
        ("workers", [(s.at, s.workers) for s in samples], "#d62728"),
    )
    height = TOP + len(panels) * (HEIGHT + 40)
    size = f'width="{LEFT + WIDTH + 20}" height="{height}"'
    title = f"hs-cluster {' '.join(OPTIONS)}; {TASKS} tasks of {TASK_S} s submitted after {SUBMIT_AT_S:g} s"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="14">{title}</text>',
    ]
    for number, (name, points, colour) in enumerate(panels):
        top, most = TOP + number * (HEIGHT + 40) + 10, max(1, *(value for _, value in points))
        place = [(LEFT + at / until * WIDTH, top + HEIGHT - value / most * HEIGHT) for at, value in points]
        path = f"M{place[0][0]:.1f},{place[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in place[1:])
        parts += [
            f'<path d="M{LEFT},{top}V{top + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="#888"/>',
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{LEFT + 8}" y="{top + 12}" fill="{colour}">{name}</text>',
            f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most}</text>',
            f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
            f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 16}" text-anchor="end">{until:.0f} s</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    recorded = record()
    path = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "autoscaling.svg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(draw(recorded))
    sys.stdout.write(f"{len(recorded)} samples, at most {max(sample.workers for sample in recorded)} workers\n")
