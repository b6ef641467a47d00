"""Runs jobs one after another, each in a child process, and keeps what it answers for a stated time."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from serve.background.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Job, JobStore, SqliteStore
from serve.settings import Settings
from toolkit.errors import UserError
from toolkit.inference import Model

log = logging.getLogger("serve")

Value = TypeVar("Value")

# A worker that dies takes the job down with it at the second time: the job may be what kills it.
MOST_ATTEMPTS = 2
_SWEEP_SECONDS = 30.0
_LINE_BYTES = 2**16
RESULTS, MASK = "results.jsonl", "mask.nii.gz"
# By kind: a video is told from a picture by its name, and read by what is in it.
_CONTENT = {
    "zip": "content.zip", "video": "content.mp4", "nifti": "content.nii", "nifti_gz": "content.nii.gz",
}  # fmt: skip


def open_runner(model: Model, settings: Settings) -> JobRunner:
    """The runner of a service, on its ``model``'s device, in the precision asked of that.

    UserError where its folder cannot be used.
    """
    folder = settings.jobs
    assert folder is not None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hold = (folder / "lock").open("w")
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in folder.glob("*.upload"):
            left.unlink()
        store = SqliteStore(folder / "jobs.sqlite")
    except BlockingIOError:
        raise UserError(f"{folder}: another service has its jobs there; give each a folder of its own") from None
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{folder}: cannot hold jobs ({error}); give a folder that can be written") from None
    limits = JobLimits(settings.job_seconds, settings.job_memory_bytes, settings.keep_jobs_seconds)
    return JobRunner(store, folder, model.device, model.asked_precision, settings.max_pixels, limits, hold)


@dataclass(frozen=True)
class JobLimits:
    """What a job may take: seconds of work, bytes of memory; and the seconds for which its results are kept."""

    seconds: float
    memory_bytes: int
    keep_seconds: float


@dataclass
class JobRunner:
    """All methods are called on the event loop. ``folder`` has a folder for each job, by its id."""

    store: JobStore
    folder: Path
    device: str
    precision: str
    max_pixels: int
    limits: JobLimits
    hold: IO[str]  # the folder is this runner's as long as this file is open
    changes: int = 0  # of all jobs, since the start
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _task: asyncio.Task[None] | None = None
    _child: asyncio.subprocess.Process | None = None
    _running: str = ""

    async def start(self) -> None:
        """Take up what an earlier process left behind, and work from now on."""
        await self._ask(self.store.requeue)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End now. The job that runs is taken up again by the next process."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.store.close()
        self.hold.close()

    async def add(self, job: Job, content: Path) -> Job:
        """Remember a job and take its content over; the same content again is the same job."""
        home = self.folder / job.id

        def place() -> Job:
            found = self.store.get(job.id)
            if found is not None and found.status not in (FAILED, CANCELLED):
                content.unlink()
                return found
            home.mkdir(parents=True, exist_ok=True)
            content.replace(home / _CONTENT[job.kind])
            return self.store.add(job)

        added = await self._ask(place)
        self._wake.set()
        return added

    async def get(self, job_id: str) -> Job | None:
        """The job of that id, as it is now."""
        return await self._ask(self.store.get, job_id)

    async def cancel(self, job_id: str) -> bool:
        """End a job that is queued or running; False where it is neither."""
        moved = await self._ask(self.store.move, job_id, (QUEUED, RUNNING), CANCELLED)
        if moved and self._running == job_id and self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
        await self._tell_all()
        return moved

    async def change(self, seen: int, seconds: float) -> None:
        """Return once `changes` is no longer ``seen``, at the latest after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.changes != seen)

    def results(self, job: Job) -> Path:
        """The file of a finished job's answers, one JSON object a line."""
        return self.folder / job.id / RESULTS

    def mask(self, job: Job) -> Path | None:
        """The NIfTI file with the mask of a finished CT series; None where the job was something else."""
        path = self.folder / job.id / MASK
        return path if job.status == DONE and path.is_file() else None

    async def _ask(self, function: Callable[..., Value], *arguments: Any) -> Value:
        return await asyncio.to_thread(function, *arguments)

    async def _tell_all(self) -> None:
        async with self._changed:
            self.changes += 1
            self._changed.notify_all()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                job = await self._ask(self.store.take)
                if job is not None:
                    await self._run(job)
                    continue
                await self._sweep()
            except Exception:
                log.exception("the work on jobs failed; it goes on")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self._wake.wait()

    async def _sweep(self) -> None:
        """Forget what is older than it is kept."""
        for job_id in await self._ask(self.store.expired, time.time() - self.limits.keep_seconds):
            await self._ask(shutil.rmtree, self.folder / job_id, True)
            await self._ask(self.store.remove, job_id)

    async def _run(self, job: Job) -> None:
        log.info("job %s: attempt %d", job.id, job.attempts)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serve.background.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES,
        )  # fmt: skip
        self._child, self._running = child, job.id
        try:
            async with asyncio.timeout(self.limits.seconds):
                error = await self._follow(job, child)
                status = await child.wait()
        except TimeoutError:
            error, status = f"the job took longer than {self.limits.seconds:g} seconds", 3
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
            self._child, self._running = None, ""
        await self._ask(self._finish, job, status, error)
        await self._tell_all()

    async def _follow(self, job: Job, child: asyncio.subprocess.Process) -> str:
        """Tell the child what to do and the store how far it is; return the error that it tells."""
        assert child.stdin is not None
        assert child.stdout is not None
        home = self.folder / job.id
        told = {
            "bundle": job.bundle, "device": self.device, "precision": self.precision, "kind": job.kind,
            "content": str(home / _CONTENT[job.kind]),
            "results": str(home / RESULTS), "mask": str(home / MASK),
            "options": json.loads(job.options), "max_pixels": self.max_pixels,
            "memory_bytes": self.limits.memory_bytes,
        }  # fmt: skip
        child.stdin.write(json.dumps(told).encode() + b"\n")
        error = ""
        while line := await child.stdout.readline():
            said = json.loads(line)
            error = said.get("error", "")
            if not error:
                await self._ask(self.store.progress, job.id, said["stage"], said.get("done", 0), said.get("total", 0))
                await self._tell_all()
        return error

    def _finish(self, job: Job, status: int, error: str) -> None:
        """Give the job its end. One that was cancelled meanwhile keeps that."""
        if status == 0:
            self.store.move(job.id, (RUNNING,), DONE)
        elif status == 3:
            self.store.move(job.id, (RUNNING,), FAILED, error)
        elif job.attempts < MOST_ATTEMPTS:
            log.warning("job %s: its worker ended with status %d, it is tried again", job.id, status)
            self.store.move(job.id, (RUNNING,), QUEUED)
        else:
            sentence = f"the job's worker ended with status {status}, {job.attempts} times"
            self.store.move(job.id, (RUNNING,), FAILED, sentence)
        found = self.store.get(job.id)
        if found is not None and found.status in (DONE, FAILED, CANCELLED):
            (self.folder / job.id / _CONTENT[job.kind]).unlink(missing_ok=True)
