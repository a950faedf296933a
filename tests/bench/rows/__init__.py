"""The rows of the table, in its order."""

from collections.abc import Callable

from tests.bench.bench import Bench
from tests.bench.rows import control, history, many, moments, outputs, queue, service, spawning, standing, storm
from tests.bench.table import Judged

ROWS: dict[str, Callable[[Bench], list[Judged]]] = {
    "sh": spawning.sh,
    "direct": spawning.direct,
    "bundle": spawning.bundle,
    "bundle-null": spawning.bundle_null,
    "keep-order": outputs.keep_order,
    "capture": outputs.capture,
    "sqlite": control.sqlite,
    "relay": control.relay,
    "startup": moments.startup,
    "end": moments.end,
    "latency": standing.latency,
    "idle": standing.idle,
    "submit": queue.submit,
    "search": queue.search,
    "history": history.history,
    "million": many.million,
    "workers": many.workers,
    "storm": storm.storm,
    "service": service.service,
}
