"""Jobs: their answers, how far they are, their end by a kill, and that they outlive the service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
from live_service import live, wait_for
from tiny_bundle import COLD, WARM, flat, flat_png, zipped

from serve import Settings, create_app
from serve.background.runner import MOST_ATTEMPTS, JobRunner
from serve.background.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Job, SqliteStore
from serve.background.upload import kind_of
from serve.errors import RequestError
from toolkit.errors import UserError
from toolkit.inference import load

ROOT = Path(__file__).parents[2]

Start = Callable[..., AbstractContextManager[tuple[httpx.Client, JobRunner]]]


@pytest.fixture
def start(tiny_bundle: Path, tmp_path: Path) -> Start:
    """Starts a service whose jobs lie in one folder, however often it is started."""

    @contextmanager
    def start(**settings: Any) -> Iterator[tuple[httpx.Client, JobRunner]]:
        model = load(tiny_bundle, "cpu", threads=1)
        app = create_app(model, Settings(jobs=tmp_path / "jobs", max_job_bytes=2**20, **settings))
        with live(app) as client:
            yield client, app.state.jobs

    return start


def video(folder: Path, colours: list[tuple[int, int, int]]) -> bytes:
    path = folder / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for colour in colours:
        writer.write(flat(colour)[:, :, ::-1])
    writer.release()
    return path.read_bytes()


def finished(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job, once it has come to an end."""
    wait_for(lambda: client.get(f"/jobs/{job_id}").json()["status"] in (DONE, FAILED, CANCELLED), 60)
    return client.get(f"/jobs/{job_id}").json()  # type: ignore[no-any-return]


def answers(client: httpx.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(job["results"]).text.splitlines()]


def child_of(client: httpx.Client, runner: JobRunner, job_id: str) -> int:
    """The process that does the job, once there is one."""
    wait_for(lambda: runner._running == job_id and client.get(f"/jobs/{job_id}").json()["stage"] != "starting", 60)
    assert runner._child is not None
    return runner._child.pid


PICTURES = {"a/1.png": flat_png(WARM), "a/2.png": b"hello", "b.png": flat_png(COLD, (50, 70)), "notes.txt": b"text"}
ZIP = zipped(PICTURES)
# So long that it is caught at work.
LONG = zipped({f"{index:04}.png": flat_png(WARM, (256, 256)) for index in range(1000)})


def test_the_pictures_of_a_zip_get_what_they_get_alone_and_a_broken_one_fails_alone(start: Start) -> None:
    with start() as (client, _):
        accepted = client.post("/jobs", content=ZIP)
        assert accepted.status_code == 202
        assert accepted.headers["location"] == f"/jobs/{accepted.json()['id']}"
        job = finished(client, accepted.json()["id"])
        assert (job["status"], job["percent"], job["done"], job["total"], job["error"]) == (DONE, 100.0, 3, 3, "")
        first, broken, last = answers(client, job)
        alone = client.post("/predict", content=PICTURES["b.png"]).json()
        assert {**last, "timing": 0} == {**alone, "timing": 0, "source": "b.png"}
        assert (first["source"], first["labels"]) == ("a/1.png", ["warm"])
        assert broken["source"] == "a/2.png"
        assert "a/2.png: is not a picture" in broken["error"]
        again = client.post("/jobs", content=ZIP).json()
        assert (again["id"], again["status"]) == (job["id"], DONE)  # the same content is the same job
        other = client.post("/jobs?score_threshold=0.999", content=ZIP).json()
        assert other["id"] != job["id"]
        assert [each.get("boxes") for each in answers(client, finished(client, other["id"]))] == [[], None, []]


def test_a_video_gets_an_answer_for_each_frame(start: Start, tmp_path: Path) -> None:
    with start() as (client, _):
        job = finished(client, client.post("/jobs", content=video(tmp_path, [WARM, COLD, COLD])).json()["id"])
        told = answers(client, job)
    assert [(each["source"], each["labels"]) for each in told] == [
        ("frame 0", ["warm"]), ("frame 1", ["cold"]), ("frame 2", ["cold"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04 and no more", "the upload is not a zip that can be read"),
        (zipped({"notes.txt": b"text"}), "the zip has no pictures"),
        (b"RIFF\x00\x00\x00\x00AVI and no more", "the upload is not a video that can be read"),
    ],
)
def test_a_job_that_cannot_be_done_says_why(start: Start, content: bytes, sentence: str) -> None:
    with start() as (client, _):
        job = finished(client, client.post("/jobs", content=content).json()["id"])
        refused = client.get(f"/jobs/{job['id']}/results")
    assert (job["status"], sentence in job["error"]) == (FAILED, True), job
    assert (refused.status_code, refused.json()["error"]) == (
        409, "the job is failed; its answers are there when it is done"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"content": b""}, 400, "the body is empty"),
        ({"content": b"hello"}, 415, "neither a zip of pictures or of a DICOM series, nor a video"),
        ({"content": bytes(2**20 + 1)}, 413, "longer than the 1 MiB that a job may have"),
        ({"content": iter([bytes(2**20), b"x"])}, 413, "longer than the 1 MiB"),
        ({"content": b"PK\x03\x04", "params": {"score": "1"}}, 422, "query parameter 'score' is unknown"),
    ],
)
def test_what_is_no_job_leaves_nothing_behind(
    start: Start, tmp_path: Path, request_: dict[str, Any], status: int, sentence: str
) -> None:
    with start() as (client, _):
        refused = client.post("/jobs", **request_)
        assert (refused.status_code, sentence in refused.json()["error"]) == (status, True), refused.text
        assert client.get("/jobs/nothing").status_code == 404
        assert not [each for each in (tmp_path / "jobs").iterdir() if each.suffix == ".upload" or each.is_dir()]


def test_an_upload_that_stops_to_arrive_is_a_408(start: Start, tmp_path: Path) -> None:
    with start(body_seconds=0.3) as (client, _):
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as raw:
            raw.sendall(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nPK")
            raw.settimeout(10)
            answer = raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"nothing of the body arrived for 0.3 seconds" in answer
        assert not list((tmp_path / "jobs").glob("*.upload"))


def test_events_tell_how_far_it_is_until_its_end(start: Start) -> None:
    with start() as (client, _):
        job_id = client.post("/jobs", content=ZIP).json()["id"]
        with client.stream("GET", f"/jobs/{job_id}/events", timeout=60) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert told[-1]["status"] == DONE
    assert [each["percent"] for each in told] == sorted(each["percent"] for each in told)
    assert {each["id"] for each in told} == {job_id}


def test_a_client_that_leaves_its_events_leaves_nothing_behind(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "serve")

    def ended() -> int:
        """Requests for events that the service is done with: each is one line in its log."""
        return sum("/events -> 200" in record.getMessage() for record in caplog.records)

    with start() as (client, runner):
        job_id = client.post("/jobs", content=LONG).json()["id"]
        child_of(client, runner, job_id)
        for left in (1, 2, 3):
            with client.stream("GET", f"/jobs/{job_id}/events", timeout=60) as stream:
                assert next(stream.iter_lines()).startswith("event: ")
            wait_for(lambda left=left: ended() == left)  # while the job still runs
        assert client.get(f"/jobs/{job_id}").json()["status"] == RUNNING
        client.delete(f"/jobs/{job_id}")
        assert finished(client, job_id)["status"] == CANCELLED


def test_a_cancelled_job_s_child_is_gone(start: Start) -> None:
    with start() as (client, runner):
        job_id = client.post("/jobs", content=LONG).json()["id"]
        pid = child_of(client, runner, job_id)
        assert client.delete(f"/jobs/{job_id}").json()["status"] == CANCELLED
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
        assert client.delete(f"/jobs/{job_id}").json()["status"] == CANCELLED
        assert client.post("/predict", content=flat_png(WARM)).status_code == 200
        done = finished(client, client.post("/jobs", content=ZIP).json()["id"])
        refused = client.delete(f"/jobs/{done['id']}")
        assert (refused.status_code, refused.json()["error"]) == (409, "the job is done already")


def test_a_job_whose_worker_is_killed_is_tried_again_and_then_given_up(start: Start) -> None:
    with start() as (client, runner):
        job_id = client.post("/jobs", content=LONG).json()["id"]
        first = child_of(client, runner, job_id)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: runner._child is not None and runner._child.pid != first)
        os.kill(child_of(client, runner, job_id), signal.SIGKILL)
        job = finished(client, job_id)
        assert (job["status"], job["error"]) == (
            FAILED, f"the job's worker ended with status -9, {MOST_ATTEMPTS} times"
        )  # fmt: skip
        again = client.post("/jobs", content=ZIP).json()["id"]  # the runner goes on
        assert finished(client, again)["status"] == DONE


def test_jobs_outlive_the_service(start: Start) -> None:
    with start() as (client, runner):
        done = finished(client, client.post("/jobs", content=ZIP).json()["id"])
        told = answers(client, done)
        long = client.post("/jobs", content=LONG).json()["id"]
        queued = client.post("/jobs?score_threshold=0.999", content=ZIP).json()["id"]
        pid = child_of(client, runner, long)
        assert client.get(f"/jobs/{queued}").json()["status"] == QUEUED
    assert not Path(f"/proc/{pid}").exists()
    with start() as (client, runner):
        assert answers(client, client.get(f"/jobs/{done['id']}").json()) == told
        child_of(client, runner, long)  # taken up again
        client.delete(f"/jobs/{long}")
        assert finished(client, queued)["status"] == DONE


def test_a_worker_ends_with_the_process_that_started_it(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(LONG)
    told = {
        "bundle": str(tiny_bundle), "device": "cpu", "precision": "auto", "kind": "zip",
        "content": str(tmp_path / "content"),
        "results": str(tmp_path / "results.jsonl"), "mask": str(tmp_path / "mask.nii.gz"),
        "options": {}, "max_pixels": 10**6, "memory_bytes": 2**32,
    }  # fmt: skip
    command = [sys.executable, "-m", "serve.background.worker"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(told).encode() + b"\n")
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline()) == {"stage": "loading"}
        worker.stdin.close()
        assert worker.wait(20) == 4
    assert not (tmp_path / "results.jsonl").exists()


def test_a_job_ends_at_its_time_limit(start: Start) -> None:
    with start(job_seconds=0.05) as (client, _):
        job = finished(client, client.post("/jobs", content=ZIP).json()["id"])
    assert (job["status"], job["error"]) == (FAILED, "the job took longer than 0.05 seconds")


def test_answers_are_deleted_after_their_time(start: Start, tmp_path: Path) -> None:
    with start(keep_jobs_seconds=0.0) as (client, _):
        job_id = client.post("/jobs", content=ZIP).json()["id"]
        wait_for(lambda: client.get(f"/jobs/{job_id}").status_code == 404, 60)
        wait_for(lambda: not (tmp_path / "jobs" / job_id).exists())


def test_a_folder_has_one_service(start: Start) -> None:
    with start(), pytest.raises(UserError, match="another service has its jobs there"), start():
        pass


def test_without_a_folder_there_are_no_jobs(tiny_bundle: Path) -> None:
    with live(create_app(load(tiny_bundle, "cpu", threads=1))) as client:
        assert client.post("/jobs", content=ZIP).status_code == 404
        assert not [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/jobs")]


def test_the_store_moves_a_job_only_from_where_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.sqlite")
    job = Job("a", "zip", "tiny", "1", "{}", created=1.0)
    assert store.add(job) == job
    assert store.add(replace(job, created=2.0)) == job  # it is there already
    store.add(replace(job, id="b", created=0.5))
    taken = store.take()
    assert taken is not None
    assert (taken.id, taken.status, taken.attempts) == ("b", RUNNING, 1)  # the oldest
    store.progress("a", "predicting", 1, 2)  # not running: nothing happens
    store.progress("b", "predicting", 1, 4)
    assert store.get("a") == job
    found = store.get("b")
    assert found is not None
    assert found.percent == 25.0
    assert not store.move("a", (RUNNING,), DONE)
    assert store.move("b", (RUNNING,), FAILED, "why")
    assert store.expired(time.time() + 1) == ["b"]
    assert store.expired(time.time() - 60) == []
    assert store.add(replace(job, id="b", created=3.0)) == replace(job, id="b", created=3.0)  # failed: it may try again
    assert [each.id for each in (store.take(), store.take()) if each] == ["a", "b"]
    assert store.take() is None
    store.requeue()
    store.remove("b")
    store.close()
    store = SqliteStore(tmp_path / "jobs.sqlite")  # on disk
    assert [each.attempts for each in (store.take(),) if each] == [2]
    assert store.get("b") is None
    store.close()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04....", "zip"),
        (b"\x00\x00\x00\x20ftypisom", "video"),
        (b"RIFF....AVI LIST", "video"),
        (b"\x1aE\xdf\xa3....", "video"),
        (b"\x5c\x01\0\0....", "nifti"),
        (b"\0\0\x01\x5c....", "nifti"),
        (b"\x1f\x8b\x08....", "nifti_gz"),
        (b"RIFF....WAVEfmt ", None),
        (b"\xff\xd8\xff", None),
    ],
)
def test_content_is_known_by_its_first_bytes(head: bytes, kind: str | None) -> None:
    if kind is not None:
        assert kind_of(head) == kind
        return
    with pytest.raises(RequestError, match="neither a zip"):
        kind_of(head)
