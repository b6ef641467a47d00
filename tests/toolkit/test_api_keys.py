"""The file of API keys: made, read, changed, and without a key in it."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from toolkit.api_keys import add_key, read_keys, remove_key
from toolkit.errors import UserError


def test_a_key_is_found_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    camera = add_key(path, "camera")
    boss = add_key(path, "boss", scopes=["predict", "metrics", "predict"], per_minute=60, burst=5)
    assert len(set(camera)) > 10
    assert camera != boss
    text = path.read_text()
    assert camera not in text
    assert boss not in text
    assert json.loads(text)["keys"] == [
        {"name": "camera", "sha256": hashlib.sha256(camera.encode()).hexdigest(), "scopes": ["predict"]},
        {
            "name": "boss",
            "sha256": hashlib.sha256(boss.encode()).hexdigest(),
            "scopes": ["predict", "metrics"],
            "per_minute": 60.0,
            "burst": 5,
        },
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = read_keys(path)
    found = [keys.find(each) for each in (camera, boss, camera + "x", "", "é")]
    assert [each and each.name for each in found] == ["camera", "boss", None, None, None]


def test_a_key_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first, second = add_key(path, "first"), add_key(path, "second")
    remove_key(path, "first")
    keys = read_keys(path)
    assert (keys.find(first), keys.find(second).name) == (None, "second")  # type: ignore[union-attr]
    with pytest.raises(UserError, match="has no key 'secnd'; did you mean 'second'\\?; it has second"):
        remove_key(path, "secnd")
    with pytest.raises(UserError, match="has a key 'second' already"):
        add_key(path, "second")
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


HASH = "0" * 64


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file: Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        ('{"keys": [{"name": "a"}]}', "keys.0.sha256: Field required"),
        ('{"keys": [{"name": "a", "sha256": "abc"}]}', "keys.0.sha256: String should match"),
        (f'{{"keys": [{{"name": "a", "sha256": "{HASH}", "scope": []}}]}}', "keys.0.scope: Extra inputs"),
        (f'{{"keys": [{{"name": "a", "sha256": "{HASH}", "scopes": ["all"]}}]}}', "keys.0.scopes.0: Input should be"),
        (f'{{"keys": [{{"name": "a", "sha256": "{HASH}", "per_minute": 0}}]}}', "per_minute: Input should be greater"),
        (json.dumps({"keys": [{"name": "a", "sha256": HASH}] * 2}), "two keys are named 'a'"),
    ],
)
def test_a_file_that_is_none_of_keys(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        read_keys(path)
    assert str(told.value).startswith(f"keys file {path}: ")
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)
