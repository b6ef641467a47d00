"""Where jobs are remembered. `JobStore` is what the runner and the routes need; SQLite on disk is the one that is here.

A store that several machines share (Redis, say) is another subclass: `take` must then give a job to one of them alone.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
FINISHED = (DONE, FAILED, CANCELLED)


@dataclass(frozen=True)
class Job:
    """One job. ``done`` of ``total`` pictures or frames are answered (total 0: not counted yet); times since 1970."""

    id: str
    kind: str
    model: str
    version: str
    options: str  # JSON
    bundle: str = ""  # where the model lies; the job is done by this one, whatever is served by then
    status: str = QUEUED
    stage: str = QUEUED
    done: int = 0
    total: int = 0
    error: str = ""
    attempts: int = 0
    created: float = 0.0
    finished: float = 0.0

    @property
    def percent(self) -> float:
        """How much of it is answered."""
        if self.status == DONE:
            return 100.0
        return round(100 * self.done / self.total, 1) if self.total else 0.0


class JobStore(ABC):
    """Remembers jobs. Any thread may call any method; each is one step that happens wholly or not at all."""

    @abstractmethod
    def add(self, job: Job) -> Job:
        """Remember a new job and return it, or the one that has its id already and did not fail or get cancelled."""

    @abstractmethod
    def get(self, job_id: str) -> Job | None:
        """The job of that id."""

    @abstractmethod
    def take(self) -> Job | None:
        """The oldest queued job, which is running from now on, with one attempt more."""

    @abstractmethod
    def progress(self, job_id: str, stage: str, done: int, total: int) -> None:
        """Note how far a running job is."""

    @abstractmethod
    def move(self, job_id: str, before: Sequence[str], after: str, error: str = "") -> bool:
        """Give a job whose status is one of ``before`` the status ``after``; False where it is none of them."""

    @abstractmethod
    def requeue(self) -> None:
        """Queue what was running when the service ended."""

    @abstractmethod
    def expired(self, before: float) -> list[str]:
        """The ids of the jobs that finished before that time."""

    @abstractmethod
    def remove(self, job_id: str) -> None:
        """Forget a job."""

    @abstractmethod
    def close(self) -> None:
        """Let go of whatever it holds."""


class SqliteStore(JobStore):
    """One file, which survives the process; every change is on disk before the method returns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._run("PRAGMA journal_mode=WAL")
        self._run("PRAGMA synchronous=FULL")
        kinds = {"str": "TEXT", "int": "INTEGER", "float": "REAL"}
        columns = ", ".join(f"{each.name} {kinds[str(each.type)]} NOT NULL" for each in fields(Job))
        self._run(f"CREATE TABLE IF NOT EXISTS jobs ({columns}, PRIMARY KEY (id))")

    def add(self, job: Job) -> Job:
        values = asdict(job)
        columns = ", ".join(values)
        changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "id")
        sql = f"INSERT INTO jobs ({columns}) VALUES ({', '.join('?' * len(values))}) "
        again = f"ON CONFLICT (id) DO UPDATE SET {changes} WHERE jobs.status IN (?, ?)"
        self._run(sql + again, *values.values(), FAILED, CANCELLED)
        found = self.get(job.id)
        assert found is not None
        return found

    def get(self, job_id: str) -> Job | None:
        rows = self._run("SELECT * FROM jobs WHERE id = ?", job_id)
        return Job(**dict(rows[0])) if rows else None

    def take(self) -> Job | None:
        oldest = "SELECT id FROM jobs WHERE status = ? ORDER BY created, id LIMIT 1"
        sql = f"UPDATE jobs SET status = ?, stage = ?, attempts = attempts + 1 WHERE id = ({oldest}) RETURNING *"
        rows = self._run(sql, RUNNING, "starting", QUEUED)
        return Job(**dict(rows[0])) if rows else None

    def progress(self, job_id: str, stage: str, done: int, total: int) -> None:
        sql = "UPDATE jobs SET stage = ?, done = ?, total = ? WHERE id = ? AND status = ?"
        self._run(sql, stage, done, total, job_id, RUNNING)

    def move(self, job_id: str, before: Sequence[str], after: str, error: str = "") -> bool:
        finished = time.time() if after in FINISHED else 0.0
        sql = (
            "UPDATE jobs SET status = ?, stage = ?, error = ?, finished = ? "
            f"WHERE id = ? AND status IN ({', '.join('?' * len(before))}) RETURNING id"
        )
        return bool(self._run(sql, after, after, error, finished, job_id, *before))

    def requeue(self) -> None:
        self._run("UPDATE jobs SET status = ?, stage = ? WHERE status = ?", QUEUED, QUEUED, RUNNING)

    def expired(self, before: float) -> list[str]:
        sql = f"SELECT id FROM jobs WHERE status IN ({', '.join('?' * len(FINISHED))}) AND finished < ?"
        return [row["id"] for row in self._run(sql, *FINISHED, before)]

    def remove(self, job_id: str) -> None:
        self._run("DELETE FROM jobs WHERE id = ?", job_id)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _run(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()
