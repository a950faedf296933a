"""Runs, epochs and the input in an SQL store: what is written down once per run, not per task."""

import json
import os
from typing import Any, NamedTuple

from hs_scheduler.stores import statements
from hs_scheduler.stores.answers import Answers
from hs_scheduler.stores.store import NO_RUN, Counts, InputState


class RunRecord(NamedTuple):
    """A run as the database remembers it."""

    uid: bytes
    settings: dict[str, Any]
    start_time: float
    end_time: float | None
    status: int | None


class Runs(Answers):
    """The runs of a database, and how far their input was read."""

    def take_epoch(self, cluster: bytes = b"") -> int:
        """Commit and return the next epoch; what workers of another cluster had is NEW again."""
        with self.transaction():
            self._enter_cluster(cluster)
            (epoch,) = self._engine.execute(
                "UPDATE meta SET value = value + 1 WHERE name = 'epoch' RETURNING value"
            ).fetchone()
            # Of its first owner. Whoever made the tables may have been a program that gave them none.
            number = int.from_bytes(os.urandom(8)) >> 1  # integers in SQL are signed
            self._engine.execute("INSERT INTO meta VALUES ('store', ?) ON CONFLICT (name) DO NOTHING", (number,))
        self._epoch = int(epoch)
        return self._epoch

    def uid(self) -> bytes:
        """Return 16 bytes that no other database has, but for its copies. After `take_epoch`."""
        with self._engine.translated():
            (number,) = self._engine.execute("SELECT value FROM meta WHERE name = 'store'").fetchone()
        return int(number).to_bytes(16)

    def open_run(self, run_id: bytes, settings: dict[str, Any], now: float, *, whole: bool = False) -> dict[str, Any]:
        """Record the run once, count what is there, return the settings in force; the zero id means the whole database."""
        if run_id != NO_RUN:
            with self.transaction():
                (known,) = self._engine.execute("SELECT count(*) FROM run WHERE uid = ?", (run_id,)).fetchone()
                self._engine.execute(
                    "INSERT INTO run (uid, settings, host, start_time) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (uid) DO UPDATE SET end_time = NULL, status = NULL",
                    (run_id, json.dumps(settings), self._host, now),
                )
                self._run, recorded = self._engine.execute(
                    "SELECT run, settings FROM run WHERE uid = ?", (run_id,)
                ).fetchone()
                settings = json.loads(recorded)
            self._whole = whole
            if not (known or whole):
                self.counts.take(Counts())  # no row is of a run that is new
                return settings
        self._count()
        return settings

    def close_run(self, run_id: bytes, now: float, status: int) -> None:
        """Note how the run ended."""
        with self.transaction():
            self._engine.execute("UPDATE run SET end_time = ?, status = ? WHERE uid = ?", (now, status, run_id))

    def last_run(self) -> RunRecord | None:
        """Return the run that was started last, or None."""
        with self._engine.translated():
            row = self._engine.execute(
                "SELECT uid, settings, start_time, end_time, status FROM run ORDER BY run DESC"
            ).fetchone()
        return None if row is None else RunRecord(row[0], json.loads(row[1]), *row[2:])

    def others(self) -> int:
        """Return how many unfinished tasks of other runs the database holds."""
        if self._whole:
            return 0
        with self._engine.translated():
            (count,) = self._engine.execute(self._scoped(statements.OTHERS), {"run": self._run}).fetchone()
        return int(count)

    def input_state(self) -> InputState | None:
        """Return how far the input of this run was read, or None."""
        with self._engine.translated():
            row = self._engine.execute("SELECT * FROM input WHERE run = ?", (self._run or 0,)).fetchone()
        if row is None:
            return None
        _, path, device, inode, size, modified_ns, offset, line, tags, ended = row
        return InputState(
            path=os.fsdecode(path),
            device=int(device),
            inode=int(inode),
            size=size,
            modified_ns=modified_ns,
            offset=offset,
            line=line,
            tags=statements.tags_of(tags),
            ended=bool(ended),
        )

    def save_input(self, state: InputState) -> None:
        """Note how far the input was read."""
        self._writing()
        self._engine.execute(
            statements.SAVE_INPUT,
            (
                self._run or 0,
                os.fsencode(state.path),
                # As text: both are unsigned, and integers in SQL are signed.
                str(state.device),
                str(state.inode),
                state.size,
                state.modified_ns,
                state.offset,
                state.line,
                json.dumps(state.tags),
                int(state.ended),
            ),
        )

    def _enter_cluster(self, cluster: bytes) -> None:
        number = int.from_bytes(cluster[:8]) >> 1  # integers in SQL are signed
        (before,) = self._engine.execute("SELECT max(value) FROM meta WHERE name = 'cluster'").fetchone()
        if not cluster or before == number:
            return
        self._engine.execute(
            "INSERT INTO meta VALUES ('cluster', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (number,)
        )
        if before is None:
            return
        self._engine.execute("UPDATE worker SET attached = 0 WHERE attached <> 0")
        if self.counts.assigned:
            changed = self._engine.execute(self._scoped(statements.RELEASE_ALL), {"run": self._run}).rowcount
            self.counts.assigned -= changed
            self.counts.new += changed
        if self.counts.cancelled:
            self._engine.execute(self._scoped(statements.SETTLE_ALL), {"run": self._run})
