"""A CT series as a job: its report and mask, what is refused, and a child that is killed or runs out of memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from drawn_series import PATIENT, Chest, datasets, drawn_chest, write_nifti
from live_service import live, wait_for
from lung_bundle import make_lung_bundle
from tiny_bundle import flat_png

from serve import Settings, create_app
from serve.background.runner import JobRunner
from serve.background.store import CANCELLED, DONE, FAILED
from toolkit.inference import load

CHEST = drawn_chest((24, 96, 96))
Start = Callable[..., AbstractContextManager[tuple[httpx.Client, JobRunner]]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lung_bundle(tmp_path_factory.mktemp("lungs") / "lungs")


@pytest.fixture
def start(bundle: Path, tmp_path: Path) -> Start:
    """Starts a service that knows lungs, or another bundle, and takes jobs."""

    @contextmanager
    def start(served: Path = bundle, **settings: Any) -> Iterator[tuple[httpx.Client, JobRunner]]:
        app = create_app(load(served, "cpu", threads=1), Settings(jobs=tmp_path / "jobs", **settings))
        with live(app) as client:
            yield client, app.state.jobs

    return start


def zipped(files: list[Any], prefix: str = "") -> bytes:
    """A zip of data sets, with names that tell whose they are."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, dataset in enumerate(files):
            buffer = io.BytesIO()
            dataset.save_as(buffer, enforce_file_format=True)
            archive.writestr(f"{prefix}{PATIENT}/{index}.dcm", buffer.getvalue())
    return packed.getvalue()


def finished(client: httpx.Client, content: bytes) -> dict[str, Any]:
    """The job of that content, once it has come to an end."""
    accepted = client.post("/jobs", content=content)
    assert accepted.status_code == 202, accepted.text
    path = f"/jobs/{accepted.json()['id']}"
    wait_for(lambda: client.get(path).json()["status"] in (DONE, FAILED, CANCELLED), 120)
    return client.get(path).json()  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["zip", "zip that climbs", "nifti", "nifti_gz"])
def test_a_series_gives_a_report_and_a_mask(kind: str, start: Start, tmp_path: Path) -> None:
    if kind.startswith("zip"):
        content = zipped(datasets(CHEST), "../../" if kind == "zip that climbs" else "")
    else:
        path = write_nifti(tmp_path / ("a.nii" if kind == "nifti" else "a.nii.gz"), CHEST)
        content = path.read_bytes()
    with start() as (client, runner):
        job = finished(client, content)
        assert (job["status"], job["percent"], job["done"], job["total"], job["error"]) == (DONE, 100.0, 24, 24, "")
        (report,) = [json.loads(line) for line in client.get(job["results"]).text.splitlines()]
        mask = client.get(job["mask"])
        left = {path.name for path in (runner.folder / job["id"]).iterdir()}
    assert report["lung_ml"] == pytest.approx(CHEST.ml(1, 2), rel=1e-3)
    assert (report["source"], report["disclaimer"]) == ("the series", "Not for clinical use.")
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(mask.content))
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0) > 0, CHEST.truth > 0)
    assert left == {"results.jsonl", "mask.nii.gz"}  # the upload, and so the patient, is gone
    assert PATIENT not in json.dumps(report) + json.dumps(job)
    assert PATIENT.encode() not in gzip.decompress(mask.content)


def test_stages_are_told_in_their_order(start: Start) -> None:
    slow = drawn_chest((160, 96, 96))
    with start() as (client, _):
        job_id = client.post("/jobs", content=zipped(datasets(slow))).json()["id"]
        with client.stream("GET", f"/jobs/{job_id}/events", timeout=60) as stream:
            told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    stages = list(dict.fromkeys(each["stage"] for each in told))
    order = ["queued", "starting", "loading", "reading headers", "reading slices", "predicting", "measuring", "saving",
             "done"]  # fmt: skip
    assert stages == [stage for stage in order if stage in stages]
    assert [each["percent"] for each in told] == sorted(each["percent"] for each in told)
    assert told[-1]["status"] == DONE


def cut(dataset: Any, index: int) -> None:
    if index == 5:
        dataset.PixelData = b"\0" * 100


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (zipped(datasets(CHEST, modality="MR")), "the series: no CT slices are in it, but 24 of modality MR"),
        (zipped(datasets(CHEST, change=cut)), "the series, file 19 of 24: is damaged or cut short"),
        (zipped(datasets(CHEST, leave_out=range(2, 24))), "the series: has 2 axial CT slices, but a volume takes"),
        (gzip.compress(b"something else"), "the series: cannot be read as NIfTI"),
        (b"\x5c\x01\0\0 and no more", "the series: cannot be read as NIfTI"),
    ],
)
def test_what_cannot_be_used_fails_with_a_sentence_that_names_nobody(
    content: bytes, sentence: str, start: Start
) -> None:
    with start() as (client, _):
        job = finished(client, content)
        refused = client.get(f"/jobs/{job['id']}/mask")
    assert (job["status"], sentence in job["error"]) == (FAILED, True), job
    assert PATIENT not in job["error"]
    assert job["mask"] is None
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        "the job is failed; its mask is there when it is done",
    )


def test_a_model_without_lungs_takes_no_series(tiny_bundle: Path, start: Start) -> None:
    with start(tiny_bundle) as (client, _):
        job = finished(client, zipped(datasets(CHEST)))
    assert (job["status"], job["error"]) == (
        FAILED, "tiny: a CT series needs a segmentation model with the class 'lung', as ct_pneumonia"
    )  # fmt: skip


def test_a_zip_of_pictures_has_no_mask_of_a_volume(start: Start) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", flat_png((85, 85, 85)))
    with start() as (client, _):
        job = finished(client, packed.getvalue())
        refused = client.get(f"/jobs/{job['id']}/mask")
    assert (job["status"], job["mask"], refused.status_code) == (DONE, None, 404)


def test_a_child_that_is_killed_twice_fails_the_job_and_the_service_lives(start: Start) -> None:
    long = zipped(datasets(drawn_chest((400, 96, 96))))
    with start() as (client, runner):
        job_id = client.post("/jobs", content=long).json()["id"]
        seen: set[int] = set()
        for _ in range(2):
            wait_for(lambda: runner._child is not None and runner._child.pid not in seen, 60)
            wait_for(lambda: client.get(f"/jobs/{job_id}").json()["stage"].startswith(("reading", "predicting")), 60)
            assert runner._child is not None
            seen.add(runner._child.pid)
            os.kill(runner._child.pid, signal.SIGKILL)
            wait_for(lambda: runner._child is None or runner._child.pid not in seen, 60)
        wait_for(lambda: client.get(f"/jobs/{job_id}").json()["status"] == FAILED, 60)
        job = client.get(f"/jobs/{job_id}").json()
        assert job["error"] == "the job's worker ended with status -9, 2 times"
        assert client.post("/predict", content=flat_png((85, 85, 85))).status_code == 200
        assert finished(client, zipped(datasets(CHEST)))["status"] == DONE


def test_a_series_that_needs_too_much_memory_fails_alone(start: Start) -> None:
    """A megabyte of zip that unfolds to 512 MiB of voxels, in a child that may have 700 MiB."""
    side = 4096
    empty = Chest(np.full((16, 8, 8), -1000, np.int16), np.zeros((16, 8, 8), np.uint8), (5.0, 0.1, 0.1), (0.0,) * 3)

    def enlarge(dataset: Any, index: int) -> None:
        dataset.Rows = dataset.Columns = side
        dataset.PixelData = bytes(2 * side * side)

    with start(job_memory_bytes=700 * 2**20) as (client, _):
        job = finished(client, zipped(datasets(empty, change=enlarge)))
        assert (job["status"], "of memory that a job may use" in job["error"]) == (FAILED, True), job
        assert client.post("/predict", content=flat_png((85, 85, 85))).status_code == 200
