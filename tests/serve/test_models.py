"""Several models in one service, and the admin API that changes them while it runs."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from bundle_variants import spoilt
from live_service import GatedModel, wait_for
from tiny_bundle import WARM, flat_png, make_tiny_bundle, make_tiny_classifier

from serve import InProcessClient, create_app
from serve.admin import create_admin_app
from serve.errors import RequestError
from serve.registry import Registry
from serve.service import Service
from serve.settings import Settings
from serve.shelf import Shelf
from toolkit.api_keys import add_key
from toolkit.errors import UserError
from toolkit.inference import Model, load

PICTURE = flat_png(WARM)


def open_model(path: str | Path) -> Model:
    return load(path, "cpu", threads=1)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Bundles that may be loaded: a newer detector, a damaged, a spoilt and a foreign one, and a classifier."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    make_tiny_bundle(folder / "newer", ("hot", "cool"), version="2.0.0")
    make_tiny_bundle(folder / "damaged", version="3.0.0")
    network = bytearray((folder / "damaged/model.onnx").read_bytes())
    network[len(network) // 2] ^= 1
    (folder / "damaged/model.onnx").write_bytes(network)
    shutil.move(spoilt(tmp_path / "s"), folder / "spoilt")
    make_tiny_classifier(folder / "foreign", version="4.0.0")
    make_tiny_classifier(folder / "colours", name="colours")
    (folder / "notes").mkdir()
    (folder / ".hidden").symlink_to(folder / "newer")
    (folder / "link").symlink_to(folder / "newer")
    return folder


@pytest.fixture
def client(tiny_bundle: Path, shelf: Path) -> Iterator[InProcessClient]:
    """A service over the tiny detector; its admin API stands under /admin here, in the same event loop."""
    app = create_app(GatedModel(tiny_bundle))
    app.mount("/admin", create_admin_app(app.state.service, Shelf(shelf, open_model)))
    with InProcessClient(app) as client:
        yield client


def admin(client: InProcessClient, path: str) -> tuple[int, Any]:
    reply = client.request("POST", f"/admin/models/{path}")
    return reply.status, reply.json()


def labels(client: InProcessClient, path: str = "/predict") -> list[str]:
    reply = client.request("POST", path, PICTURE)
    assert reply.status == 200, reply.content
    return reply.json()["labels"]  # type: ignore[no-any-return]


def test_a_bundle_replaces_the_one_of_its_name_and_the_way_back_is_open(client: InProcessClient) -> None:
    assert admin(client, "newer/load") == (200, {"name": "tiny", "version": "2.0.0"})
    assert (labels(client), labels(client, "/models/tiny/predict")) == (["hot"], ["hot"])
    assert client.request("GET", "/metadata").json()["labels"] == ["hot", "cool"]
    assert client.request("GET", "/models/tiny/versions/1.0.0").status == 404
    assert admin(client, "tiny/rollback") == (200, {"name": "tiny", "version": "1.0.0"})
    assert labels(client) == ["warm"]
    assert admin(client, "tiny/rollback") == (200, {"name": "tiny", "version": "2.0.0"})
    assert labels(client) == ["hot"]


# Each row: what is asked of the admin API, and a part of the sentence. What was served is served on.
REFUSED = [
    ("damaged/load", "damaged: model.onnx"),
    ("spoilt/load", "is not served, its check failed: golden/0.png: expected warm 0.5000"),
    ("foreign/load", "tiny is a classification model, but a detection model is served under that name"),
    ("newr/load", "no bundle 'newr' in"),
    ("notes/load", "no bundle 'notes' in"),
    ("link/load", "there: colours, damaged, foreign, newer, spoilt"),
    ("tiny/rollback", "model 'tiny' has replaced nothing since this service started"),
    ("tyni/rollback", "model 'tyni' has replaced nothing"),
    ("tiny/unload", "tiny is the only model that is served; stop the service instead"),
    ("tyni/unload", "no model 'tyni' is served here"),
]


@pytest.mark.parametrize(("path", "sentence"), REFUSED)
def test_what_is_refused_leaves_the_service_as_it_was(client: InProcessClient, path: str, sentence: str) -> None:
    status, answer = admin(client, path)
    assert (status, list(answer)) == (409, ["error"])
    assert sentence in answer["error"]
    assert labels(client) == ["warm"]
    assert client.request("GET", "/health/ready").status == 200
    assert [each["version"] for each in client.request("GET", "/models").json()] == ["1.0.0"]


def test_another_name_comes_beside_and_leaves_again(client: InProcessClient) -> None:
    listed = client.request("GET", "/admin/models").json()
    assert listed["bundles"] == ["colours", "damaged", "foreign", "newer", "spoilt"]
    assert admin(client, "colours/load")[0] == 200
    assert client.request("POST", "/models/colours/predict", PICTURE).json()["label"] == "red"
    assert client.request("POST", "/models/colours/versions/1.0.0/predict", PICTURE, query="top_k=1").status == 200
    wrong = client.request("POST", "/models/colours/predict", PICTURE, query="score_threshold=0.5")
    assert (wrong.status, "known are top_k, explain" in wrong.json()["error"]) == (422, True)
    described = client.request("GET", "/models/colours").json()
    assert (described["task"], described["explain"]) == ("classification", True)
    assert client.request("GET", "/models").json() == [
        {"name": name, "version": "1.0.0", "task": task, "current": True, "ready": True}
        for name, task in (("tiny", "detection"), ("colours", "classification"))
    ]
    assert labels(client) == ["warm"]  # the first is still the one that is asked without a name
    assert admin(client, "colours/unload")[0] == 200
    missing = client.request("POST", "/models/colours/predict", PICTURE)
    assert (missing.status, missing.json()) == (404, {"error": "no model 'colours' is served here; served: tiny"})


def test_what_is_inside_is_answered_by_the_model_it_came_to(client: InProcessClient) -> None:
    service: Service = client._app.state.service
    old = service.default
    assert isinstance(old.model, GatedModel)
    old.model.gate.clear()
    with ThreadPoolExecutor(3) as threads:
        held = [threads.submit(labels, client) for _ in range(3)]
        wait_for(lambda: old.active == 3)
        assert admin(client, "newer/load")[0] == 200
        assert labels(client) == ["hot"]  # although the old one still holds its pictures
        assert old.batcher is not None
        old.model.gate.set()
        assert [each.result() for each in held] == [["warm"]] * 3
    wait_for(lambda: old.batcher is None)  # drained


def test_the_admin_api_needs_a_key_of_its_scope(tiny_bundle: Path, shelf: Path, tmp_path: Path) -> None:
    keys = {scope: add_key(tmp_path / "keys.json", scope, scopes=[scope]) for scope in ("predict", "admin")}
    app = create_app(open_model(tiny_bundle), Settings(keys=tmp_path / "keys.json"))
    admin_app = create_admin_app(app.state.service, Shelf(shelf, open_model))

    async def statuses() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(admin_app), base_url="http://admin") as client:
            asked = [{}, {"X-API-Key": keys["predict"]}, {"X-API-Key": keys["admin"]}]
            return [(await client.get("/models", headers=headers)).status_code for headers in asked]

    assert asyncio.run(statuses()) == [401, 403, 200]


def test_the_admin_api_refuses_web_pages(client: InProcessClient) -> None:
    """A page anywhere can send a POST to a port of the machine that shows it."""
    reply = client.request("POST", "/admin/models/newer/load", headers={"Origin": "https://elsewhere.example"})
    assert reply.status == 403
    assert reply.json() == {"error": "the admin API is not for web pages; ask it from a command line"}
    assert labels(client) == ["warm"]


def test_models_are_only_on_the_admin_port(tiny_bundle: Path) -> None:
    with InProcessClient(create_app(open_model(tiny_bundle))) as client:
        for path in ("/models/tiny/load", "/models/tiny/rollback", "/models/tiny/unload", "/admin/models"):
            assert client.request("POST", path).status == 404


def test_two_versions_from_the_start_and_a_check_that_names_the_bad_one(tmp_path: Path, tiny_bundle: Path) -> None:
    newer = open_model(make_tiny_bundle(tmp_path / "n", ("hot", "cool"), version="2.0.0"))
    with InProcessClient(create_app([open_model(tiny_bundle), newer])) as client:
        assert (labels(client), labels(client, "/models/tiny/versions/1.0.0/predict")) == (["hot"], ["warm"])
        assert [each["current"] for each in client.request("GET", "/models").json()] == [False, True]
    bad = open_model(spoilt(tmp_path / "bad"))
    with pytest.raises(UserError, match=r"two bundles are tiny 1\.0\.0"):
        create_app([open_model(tiny_bundle), bad])
    with InProcessClient(create_app([newer, bad])) as client:
        error = client.request("GET", "/health/ready").json()["error"]
    assert "the start-up check failed: tiny 1.0.0: golden/0.png: expected warm 0.5000" in error


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        (None, None, ("tiny", "2.0.0")),
        ("tiny", None, ("tiny", "2.0.0")),
        ("tiny", "1.0.0", ("tiny", "1.0.0")),
        ("colours", None, ("colours", "1.0.0")),
        (None, "1.0.0", ("tiny", "1.0.0")),
        ("colors", None, "no model 'colors' is served here; did you mean 'colours'?; served: tiny, colours"),
        ("tiny", "3", "model tiny is served in version 1.0.0, 2.0.0, not '3'"),
        ("..", None, "no model '..' is served here"),
        ("", None, "no model '' is served here"),
    ],
)
def test_look_up(tmp_path: Path, name: str | None, version: str | None, found: Any) -> None:
    async def look() -> None:
        models = [
            open_model(make_tiny_bundle(tmp_path / "a", version="1.0.0")),
            open_model(make_tiny_classifier(tmp_path / "c", name="colours", version="1.0.0")),
            open_model(make_tiny_bundle(tmp_path / "b", version="2.0.0")),
        ]
        service = Service(models, Settings())
        service.close()
        if isinstance(found, tuple):
            model = service.registry.find(name, version).model
            assert (model.name, model.spec.version) == found
            return
        with pytest.raises(RequestError, match=re.escape(found)) as refused:
            service.registry.find(name, version)
        assert refused.value.status == 404

    asyncio.run(look())


def test_nothing_of_a_replaced_model_is_left_but_the_way_back(tiny_bundle: Path, shelf: Path) -> None:
    app = create_app(open_model(tiny_bundle))
    app.mount("/admin", create_admin_app(app.state.service, Shelf(shelf, open_model)))
    before = threading.active_count()
    with InProcessClient(app) as client:
        for _ in range(3):
            assert admin(client, "newer/load")[0] == 200
            assert admin(client, "tiny/rollback")[0] == 200
        sources = app.state.service.workers._sources
        wait_for(lambda: len(sources) == 1)
        assert threading.active_count() < before + 12
    assert isinstance(app.state.service.registry, Registry)
