"""The child process that does one job: python -m serve.background.worker, told what to do by one line of JSON on stdin.

It tells how far it is in lines of JSON on stdout, and ends by itself when its parent is gone. What breaks here (a
decoder that crashes, a picture that eats all memory) breaks one job.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.ct.read import holds_dicom
from toolkit.errors import PictureError, UserError
from toolkit.images import PICTURE_SUFFIXES
from toolkit.inference import Model, load
from toolkit.inference.series import predict_series
from toolkit.inference.sources import frame_count
from toolkit.results import Failure

MOST_PICTURES = 10_000
MOST_FRAMES = 100_000
_MEMBER_BYTES = 256 * 2**20
_TELL_SECONDS = 0.2


def main() -> None:
    """Do the job. Exit status 0: its results are written; 3: it cannot be done, the last line says why."""
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit = told["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    os.nice(5)  # who waits for an answer goes first
    try:
        _do(told)
    except UserError as error:
        _tell(error=str(error))
        sys.exit(3)
    except MemoryError:
        _tell(error=f"the job needs more than the {limit / 2**30:g} GiB of memory that a job may use")
        sys.exit(3)


def _do(told: dict[str, Any]) -> None:
    _tell(stage="loading")
    model = load(told["bundle"], told["device"], precision=told["precision"], threads=1, allow_spinning=False)
    content, results = Path(told["content"]), Path(told["results"])
    answers = _KINDS[told["kind"]](model, content, told)
    part = results.with_suffix(".part")
    done, last = 0, 0.0
    with part.open("w") as lines:
        for done, total, answer in answers:
            lines.write(json.dumps(answer) + "\n")
            last = _tell_now_and_then(last, stage="predicting", done=done, total=total)
        lines.flush()
        os.fsync(lines.fileno())
    part.rename(results)
    _tell(stage="predicting", done=done, total=done)


Answers = Iterator[tuple[int, int, dict[str, Any]]]


def _zip(model: Model, path: Path, told: dict[str, Any]) -> Answers:
    """Each picture of a zip by name, or the report of the CT series that it is.

    Nothing is unpacked to disk, and never more than one picture into memory.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise UserError("the upload is not a zip that can be read; pack it again") from None
    with archive:
        members = sorted((each for each in archive.infolist() if _is_picture(each)), key=lambda each: each.filename)
        if not members and holds_dicom(path):
            yield from _series(model, path, told)
            return
        if not members:
            raise UserError(f"the zip has no pictures ({', '.join(PICTURE_SUFFIXES)}) and no DICOM files")
        if len(members) > MOST_PICTURES:
            raise UserError(f"the zip has {len(members)} pictures, over the limit of {MOST_PICTURES}; send several")
        for index, member in enumerate(members):
            yield index + 1, len(members), _one(model, archive, member, told)


def _is_picture(member: zipfile.ZipInfo) -> bool:
    name = Path(member.filename)
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return not member.is_dir() and not hidden and name.suffix.lower() in PICTURE_SUFFIXES


def _one(model: Model, archive: zipfile.ZipFile, member: zipfile.ZipInfo, told: dict[str, Any]) -> dict[str, Any]:
    try:
        with archive.open(member) as packed:
            data = packed.read(_MEMBER_BYTES + 1)  # what the zip says of its size is not believed
        if len(data) > _MEMBER_BYTES:
            raise PictureError(f"{member.filename}: has more than {_MEMBER_BYTES // 2**20} MiB")
        picture = model.decode(data, name=member.filename, max_pixels=told["max_pixels"])
    except PictureError as error:
        return Failure(member.filename, str(error)).to_dict()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        # damaged, packed in a way that Python does not know, or encrypted
        return Failure(member.filename, f"{member.filename}: cannot be unpacked ({error})").to_dict()
    return model.run_batch([picture], **told["options"])[0].to_dict()


def _video(model: Model, path: Path, told: dict[str, Any]) -> Answers:
    total = frame_count(path)
    answers = model.predict(path, max_pixels=told["max_pixels"], **told["options"])
    for index, answer in enumerate(answers):
        if index == 0 and isinstance(answer, Failure):
            raise UserError("the upload is not a video that can be read")
        if index == MOST_FRAMES:
            raise UserError(f"the video has more than {MOST_FRAMES} frames; send it in parts")
        shown = answer.to_dict()
        shown["source"] = f"frame {index}"
        if isinstance(answer, Failure):
            shown["error"] = f"frame {index}: cannot be read"
        yield index + 1, max(total, index + 1), shown


def _series(model: Model, path: Path, told: dict[str, Any]) -> Answers:
    """One report, and the mask beside it. Whose series it is, nothing of that is told."""
    last = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        counted = {"done": done, "total": total} if stage in ("predicting", "measuring") else {}
        last = _tell_now_and_then(last, stage=stage, **counted)

    report = predict_series(model, path, name="the series", progress=progress)
    count = len(report.mask)
    _tell(stage="saving", done=count, total=count)
    part = report.save_mask(Path(told["mask"]).with_name("part.nii.gz"))
    part.rename(told["mask"])
    yield count, count, report.to_dict()


_KINDS = {"zip": _zip, "video": _video, "nifti": _series, "nifti_gz": _series}


def _tell_now_and_then(last: float, **fields: Any) -> float:
    """Tell where the last time was long enough ago; return when it was told last."""
    if time.monotonic() - last <= _TELL_SECONDS:
        return last
    _tell(**fields)
    return time.monotonic()


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()  # the parent holds the other end; it closes when the parent ends, however that was
    os._exit(4)


if __name__ == "__main__":
    main()
