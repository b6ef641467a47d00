"""What a bundle may be, and that every change to it is refused with a sentence that names the file."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tiny_bundle import LABELS, make_tiny_bundle, tiny_network, tiny_spec

from toolkit import bundle_files
from toolkit.bundle import Bundle, pack, write_bundle
from toolkit.bundle_spec import DetectionPostprocessing
from toolkit.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "tiny")


def edit_spec(folder: Path, change: Callable[[dict], object]) -> None:
    content = yaml.safe_load((folder / "bundle.yaml").read_text())
    change(content)
    (folder / "bundle.yaml").write_text(yaml.safe_dump(content))


def rezip(source: Path, target: Path, extra: dict[str, bytes] | None = None, mode: int = 0o100644) -> Path:
    """A zip as another program would write it; ``extra`` entries come with the given Unix mode."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(source).as_posix())
        for name, data in (extra or {}).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, data)
    return target


def test_open_reads_what_was_written(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert (bundle.name, bundle.task, bundle.version, bundle.labels) == ("tiny", "detection", "1.0.0", LABELS)
    assert bundle.preprocessing.input_size == (64, 64)
    assert bundle.postprocessing == DetectionPostprocessing()
    assert bundle.network_bytes() == tiny_network()
    assert bundle.read_json("metrics.json") == {"AP50": 1.0}
    expected = {"model.onnx", "metrics.json", "parity.json", "MODEL_CARD.md"}
    assert set(bundle.names()) == expected | {"golden/0.png", "golden/1.png", "golden/expected.json"}


def test_every_field_survives_the_file(tmp_path: Path) -> None:
    spec = tiny_spec(
        labels=("no", "12:30", "1e3", "口罩", "a: b", "2026-01-01"),  # strings that YAML 1.1 would read otherwise
        version="2.0.1",
        flaws=("misses small faces",),
        postprocessing=DetectionPostprocessing(score_threshold=1e-3, iou_threshold=1, max_detections=5),
    )
    bundle = write_bundle(tmp_path / "b", spec, {"model.onnx": b"network"})
    digest = hashlib.sha256(b"network").hexdigest()
    assert bundle.spec == spec.model_copy(update={"files": {"model.onnx": digest}})


@pytest.mark.parametrize("kind", ["folder", "zip", "run", "link to the folder"])
def test_a_bundle_opens_as(kind: str, folder: Path, tmp_path: Path) -> None:
    if kind == "zip":
        path = pack(folder, tmp_path / "tiny.zip")
    elif kind == "run":
        path = tmp_path / "run"
        shutil.copytree(folder, path / "bundle")
        (path / "log.txt").write_text("a run holds more than its bundle")
    elif kind == "link to the folder":
        path = tmp_path / "latest"
        path.symlink_to(folder)
    else:
        path = folder
    bundle = Bundle.open(path)
    assert bundle.network_bytes() == tiny_network()
    assert bundle.path == path


def change_network(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def list_outside(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder.parent / "outside.txt").write_text("x")
        digest = hashlib.sha256(b"x").hexdigest()
        edit_spec(folder, lambda spec: spec["files"].update({name: digest}))

    return change


def set_key(*keys: str, value: object) -> Callable[[Path], None]:
    def change(spec: dict) -> None:
        for key in keys[:-1]:
            spec = spec[key]
        spec[keys[-1]] = value

    return lambda folder: edit_spec(folder, change)


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "changed network",
        change_network,
        "model.onnx does not match its recorded SHA-256; the file was changed or damaged; "
        "copy or export the bundle again",
    ),
    (
        "empty golden picture",
        lambda folder: (folder / "golden/0.png").write_bytes(b""),
        "golden/0.png does not match its recorded SHA-256",
    ),
    ("missing card", lambda folder: (folder / "MODEL_CARD.md").unlink(), "MODEL_CARD.md is listed in bundle.yaml but"),
    (
        "unlisted file",
        lambda folder: (folder / "golden/run.py").write_text(""),
        "golden/run.py is not listed in bundle",
    ),
    (
        "unlisted hidden file",
        lambda folder: (folder / ".hidden").write_text(""),
        ".hidden is not listed in bundle.yaml",
    ),
    ("link to a file", link("more.txt", "MODEL_CARD.md"), "'more.txt' is a link"),
    ("link to a folder", link("more", "/"), "'more' is a link"),
    ("broken link", link("more", "nowhere"), "'more' is a link"),
    ("named pipe", lambda folder: os.mkfifo(folder / "pipe"), "'pipe' is a link, encrypted or a special file"),
    ("listed outside", list_outside("../outside.txt"), "files: Value error, '../outside.txt' is not a plain relative"),
    ("listed absolute", list_outside("/etc/hostname"), "'/etc/hostname' is not a plain relative file name"),
    ("listed on a drive", list_outside("C:outside.txt"), "'C:outside.txt' is not a plain relative file name"),
    ("listed with a backslash", list_outside("..\\x"), "is not a plain relative file name"),
    ("unlisted network", set_key("network", "file", value="other.onnx"), "does not list its network other.onnx"),
    ("unknown key", set_key("thresholds", value={}), "thresholds: Extra inputs are not permitted"),
    ("format of the future", set_key("format", value=2), "format: Input should be 1"),
    ("unknown task", set_key("task", value="telepathy"), "does not match any of the expected tags: 'detection'"),
    (
        "number as text",
        set_key("postprocessing", "score_threshold", value="0.5"),
        "postprocessing.score_threshold: Input",
    ),
    ("threshold over 1", set_key("postprocessing", "iou_threshold", value=1.5), "postprocessing.iou_threshold: Input"),
    ("no labels", set_key("labels", value=[]), "labels: Tuple should have at least 1 item"),
    ("a label twice", set_key("labels", value=["a", "a"]), "labels: Value error, the same label stands twice"),
    ("odd input size", set_key("preprocessing", "input_size", value=[60, 64]), "both must be multiples of 32"),
    (
        "multiple beside the strides",
        set_key("preprocessing", "pad_multiple", value=48),
        "preprocessing.pad_multiple 48: expected a multiple of 32, the coarsest stride",
    ),
    ("not YAML", lambda folder: (folder / "bundle.yaml").write_text("a: [1"), "bundle.yaml is not readable"),
    ("binary", lambda folder: (folder / "bundle.yaml").write_bytes(b"\xff\xfe\x00"), "bundle.yaml is not readable"),
    ("a list", lambda folder: (folder / "bundle.yaml").write_text("- 1\n"), "Input should be an object"),
    (
        "YAML that makes objects",
        lambda folder: (folder / "bundle.yaml").write_text("!!python/object/apply:os.getcwd []\n"),
        "bundle.yaml is not readable: could not determine a constructor",
    ),
    (
        "YAML that multiplies itself",
        lambda folder: (folder / "bundle.yaml").write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        "aliases (*name) are not allowed here",
    ),
    (
        "spec without end",
        lambda folder: (folder / "bundle.yaml").write_bytes(b"#" * (4 * 2**20 + 1)),
        "bundle.yaml has 4194305 bytes; at most 4194304 are read",
    ),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_changed_bundle_is_refused(change: Callable[[Path], object], message: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(UserError) as caught:
        Bundle.open(folder)
    assert str(caught.value).startswith(f"bundle {folder}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [change_network, lambda folder: (folder / "model.onnx").unlink()])
def test_a_change_after_opening_is_refused_too(change: Callable[[Path], object], folder: Path) -> None:
    bundle = Bundle.open(folder)
    change(folder)
    with pytest.raises(UserError, match=r"model\.onnx (does not match|cannot be read)"):
        bundle.network_bytes()


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("extra.txt", 0o100644, "extra.txt is not listed in bundle.yaml"),
        ("../evil.txt", 0o100644, "'../evil.txt' is a link, encrypted or a special file, or its name leads outside"),
        ("/evil.txt", 0o100644, "'/evil.txt' is a link"),
        ("golden/../../evil.txt", 0o100644, "is a link"),
        ("link", 0o120777, "'link' is a link"),
        ("MODEL_CARD.md", 0o100644, "the zip holds two files of the same name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_wrong_zip_is_refused(name: str, mode: int, message: str, folder: Path, tmp_path: Path) -> None:
    path = rezip(folder, tmp_path / "b.zip", {name: b"x"}, mode)
    with pytest.raises(UserError) as caught:
        Bundle.open(path)
    assert message in str(caught.value)
    assert not (tmp_path.parent / "evil.txt").exists()


def test_a_damaged_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    path = rezip(folder, tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    network = (folder / "model.onnx").read_bytes()
    data[data.find(network) + len(network) // 2] ^= 255  # networks are stored as they are
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.onnx cannot be read .*CRC"):
        Bundle.open(path)


def test_a_zip_bomb_is_refused_before_it_is_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_files, "MAX_BUNDLE_BYTES", 100_000)
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "bundle.yaml", "bundle.yaml")
        archive.writestr("model.onnx", b"\0" * 1_000_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(UserError, match="bytes unpacked; at most 100000 are read"):
        Bundle.open(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no bundle at"),
        (lambda path: path.mkdir(), "is neither a bundle (no bundle.yaml in it) nor a finished training run"),
        (lambda path: path.write_text("hello"), "is not a bundle: it is neither a folder nor a zip"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "there is no bundle.yaml at its top"),
    ],
)
def test_what_is_no_bundle(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    make(tmp_path / "thing")
    with pytest.raises(UserError) as caught:
        Bundle.open(tmp_path / "thing")
    assert message in str(caught.value)
    assert str(tmp_path / "thing") in str(caught.value)


def test_reading_an_unlisted_name_is_refused(folder: Path) -> None:
    bundle = Bundle.open(folder)
    with pytest.raises(UserError, match=r"it holds no file \.\./tiny/model\.onnx"):
        bundle.read("../tiny/model.onnx")
    with pytest.raises(UserError, match=r"MODEL_CARD\.md is not valid JSON"):
        bundle.read_json("MODEL_CARD.md")


def test_pack_is_reproducible_and_whole(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, tmp_path / "new/a.zip").read_bytes()
    os.utime(folder / "model.onnx", (0, 0))
    assert pack(folder, tmp_path / "b.zip").read_bytes() == first
    assert Bundle.open(tmp_path / "b.zip").spec == Bundle.open(folder).spec
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.zip"]


def test_write_replaces_a_bundle_whole(folder: Path) -> None:
    write_bundle(folder, tiny_spec(version="1.0.1"), {"model.onnx": b"new", "notes/a.txt": b"x"})
    assert sorted(path.name for path in folder.rglob("*")) == ["a.txt", "bundle.yaml", "model.onnx", "notes"]
    assert Bundle.open(folder).version == "1.0.1"
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: (path.mkdir(), (path / "thesis.txt").write_text("x")), "it holds other files"),
        (lambda path: path.write_text("x"), "a file or link is there"),
        (lambda path: (make_tiny_bundle(path), (path / "notes.txt").write_text("x")), "notes.txt is not part of it"),
    ],
)
def test_write_never_deletes_what_is_not_a_bundle(
    prepare: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    prepare(target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        write_bundle(target, tiny_spec(), {"model.onnx": b"x"})
    assert message in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_write_that_fails_leaves_the_old_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "bundle.yaml":
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(folder, tiny_spec(version="9.9.9"), {"model.onnx": b"new"})
    monkeypatch.undo()
    assert Bundle.open(folder).version == "1.0.0"
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_write_needs_the_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the network file model\.onnx is not among the files"):
        write_bundle(tmp_path / "b", tiny_spec(), {"metrics.json": b"{}"})
