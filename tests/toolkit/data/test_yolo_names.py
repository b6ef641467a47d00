"""Names in the two forms that YOLO's tools write."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.data.fault_log import FaultLog
from toolkit.data.yolo_names import read_names
from toolkit.errors import DataFaults


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("classes.txt", "cat\ndog", ("cat", "dog")),
        ("classes.txt", "\ufeffcat \r\n traffic light\r\n\r\n", ("cat", "traffic light")),
        ("obj.names", "猫\n狗\n", ("猫", "狗")),
        ("data.yaml", "names: [cat, 'dog']", ("cat", "dog")),
        ("data.yaml", "names:\n- cat\n- dog\n", ("cat", "dog")),
        ("data.yml", "names: {1: dog, 0: cat}", ("cat", "dog")),
        ("data.yaml", "nc: 2\nnames: [no, yes]", ("no", "yes")),  # words of YAML 1.1
        ("data.yaml", "names: [0, 1]", ("0", "1")),  # digits
    ],
)
def test_names(tmp_path: Path, file: str, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    log = FaultLog()
    assert read_names(tmp_path / file, log) == names
    assert log.settle() == ()


EXPECTED = "expected names: a list of names, or a block of 0: name, 1: name, and so on"


@pytest.mark.parametrize(
    ("file", "data", "sentence"),
    [
        ("classes.txt", b"", "is empty; expected the class names, one a line"),
        ("classes.txt", b"cat\n\ndog\n", "line 2: is empty; expected the name of class 1"),
        ("classes.txt", b"cat\ndog\ncat\n", "names 'cat' twice"),
        ("classes.txt", "口罩".encode("gbk"), "is not UTF-8 text; save it as UTF-8"),
        ("data.yaml", b"train: x", EXPECTED),
        ("data.yaml", b"names: cat", EXPECTED),
        ("data.yaml", b"names: []", EXPECTED),
        ("data.yaml", b"names: [cat, [dog]]", EXPECTED),
        ("data.yaml", b"names: {1: cat, 2: dog}", EXPECTED),  # class 0 has no name
        ("data.yaml", b"names: [cat, cat]", "names 'cat' twice"),
        ("data.yaml", b"names: [cat", "1: not valid YAML"),
        ("data.yaml", b"a: &a [x]\nnames: *a", "1: anchors and aliases"),
    ],
)
def test_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, data: bytes, sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).write_bytes(data)
    log = FaultLog("skip")
    read_names(Path(file), log)
    with pytest.raises(DataFaults) as caught:
        log.settle()
    (fault,) = caught.value.faults
    assert fault.file == file
    assert fault.message.startswith(sentence)


def test_a_folder(tmp_path: Path) -> None:
    log = FaultLog()
    read_names(tmp_path, log)
    with pytest.raises(DataFaults, match=r"cannot be read \(Is a directory\)"):
        log.settle()
