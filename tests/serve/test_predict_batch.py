"""Many pictures in one form: each is answered as it would be alone, or failed alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import live
from tiny_bundle import COLD, MAKERS, WARM, flat_png

from serve import Settings, create_app
from toolkit.bundle import Bundle
from toolkit.inference import Model, load

Files = list[tuple[str, tuple[str, bytes, str]]]


@pytest.fixture(scope="module", params=MAKERS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    bundle = MAKERS[request.param](tmp_path_factory.mktemp("batch") / "b")
    with live(create_app(load(bundle, "cpu", threads=1), Settings(waiting=4, max_body_bytes=2**20))) as client:
        yield client


def form(*pictures: tuple[str, bytes], field: str = "file") -> Files:
    return [(field, (name, data, "image/png")) for name, data in pictures]


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "timing"}


def test_each_gets_what_it_gets_alone_in_its_order(client: httpx.Client) -> None:
    """More pictures than may run and wait at once: the others of the batch come after them."""
    pictures = [(f"{index}.png", flat_png((WARM, COLD)[index % 2], (40 + index, 60))) for index in range(20)]
    results = client.post("/predict/batch", files=form(*pictures)).json()["results"]
    alone = [client.post("/predict", files=form(picture)).json() for picture in pictures]
    assert [plain(each) for each in results] == [plain(each) for each in alone]


def test_one_that_cannot_be_used_fails_alone(client: httpx.Client) -> None:
    pictures = [("a.png", flat_png(WARM)), ("b.png", b"hello"), ("c.png", b""), ("d.png", flat_png(COLD))]
    answer = client.post("/predict/batch", files=form(*pictures))
    good, broken, empty, last = answer.json()["results"]
    assert answer.status_code == 200
    assert (good["source"], last["source"]) == ("a.png", "d.png")
    assert broken == {"source": "b.png", "status": 400, "error": broken["error"]}
    assert "b.png: is not a picture" in broken["error"]
    assert "c.png: is empty (0 bytes)" in empty["error"]


def test_the_query_holds_for_all(client: httpx.Client) -> None:
    options = {
        "detection": {"score_threshold": "0.999"}, "classification": {"top_k": "1"}, "segmentation": {"masks": "png"}
    }[client.get("/metadata").json()["task"]]  # fmt: skip
    pictures = form(("a.png", flat_png(WARM)), ("b.png", flat_png(COLD)))
    results = client.post("/predict/batch", params=options, files=pictures).json()["results"]
    alone = [client.post("/predict", params=options, files=[each]).json() for each in pictures]
    assert [plain(each) for each in results] == [plain(each) for each in alone]
    assert results[0].get("boxes", []) == []  # nothing found is an empty list


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"content": flat_png(WARM)}, 415, "Content-Type '' is no form"),
        ({"files": form(("a.png", flat_png(WARM)), field="image")}, 400, "the form has a field 'image'"),
        ({"files": form(*[("a.png", b"x")] * 65)}, 400, "the form has more than 64 fields"),
        ({"content": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, "the form"),
        ({"files": form(("a.png", bytes(2**20)))}, 413, "the body is longer than the 1 MiB"),
        ({"files": form(("a.png", b"x")), "params": {"score": "1"}}, 422, "query parameter 'score' is unknown"),
    ],
)
def test_a_batch_that_is_refused_whole(
    client: httpx.Client, request_: dict[str, Any], status: int, sentence: str
) -> None:
    answer = client.post("/predict/batch", **request_)
    assert (answer.status_code, sentence in answer.json()["error"]) == (status, True), answer.text


class Poisoned(Model):
    """Meets a bug in every picture that is not warm, once it has started."""

    poisoned = False

    def postprocess(self, raw, *arguments, **options):  # type: ignore[no-untyped-def]
        fields = super().postprocess(raw, *arguments, **options)
        if self.poisoned and fields["class_ids"].tolist() != [0]:
            raise RuntimeError("at /home/someone/secret.py")
        return fields


def test_a_fault_of_ours_fails_its_picture_alone(tiny_bundle: Path) -> None:
    model = Poisoned(Bundle.open(tiny_bundle), device="cpu", threads=1)
    with live(create_app(model)) as client:
        model.poisoned = True
        pictures = form(("a.png", flat_png(WARM)), ("b.png", flat_png(COLD)))
        good, failed = client.post("/predict/batch", files=pictures).json()["results"]
    assert good["labels"] == ["warm"]
    sentence = "b.png: the service failed on this picture; its log has the reason"
    assert failed == {"source": "b.png", "status": 500, "error": sentence}


def test_a_picture_in_json_gets_what_its_bytes_get(client: httpx.Client) -> None:
    picture = flat_png(WARM, (50, 70))
    body = {"image": base64.b64encode(picture).decode(), "name": "street.png"}
    answer, expected = client.post("/predict", json=body), client.post("/predict", content=picture)
    assert plain(answer.json()) == {**plain(expected.json()), "source": "street.png"}
    del body["name"]
    assert client.post("/predict", json=body).json()["source"] == "upload"
