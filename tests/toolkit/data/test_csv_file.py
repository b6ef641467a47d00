"""CSV as it comes from spreadsheets and scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.data.csv_file import file_fault, read_csv
from toolkit.data.fault_log import FaultLog
from toolkit.errors import DataFaults, Fault

ROWS = [(2, {"image": "a.jpg", "label": "cat"}), (3, {"image": "b c.jpg", "label": "狗"})]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(content: str | bytes, log: FaultLog) -> list[tuple[int, dict[str, str]]]:
    Path("t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv(Path("t.csv"), ("image", "label"), "data.index names it", log)


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na.jpg,cat\nb c.jpg,狗\n",
        "\ufeffimage,label\r\na.jpg,cat\r\nb c.jpg,狗\r\n",
        " image , label \n a.jpg , cat \nb c.jpg,狗",
        '"image","label"\n"a.jpg","cat"\n"b c.jpg","狗"\n\n\n',
        "image,label\ra.jpg,cat\rb c.jpg,狗\r",
    ],
)
def test_many_hands(text: str) -> None:
    log = FaultLog()
    assert read(text, log) == ROWS
    assert log.settle() == ()


def test_quoted_cells_and_other_columns() -> None:
    rows = read('note,label,image\n"two\nlines, and a ""word""",cat,"x, y.jpg"\n,dog,z.jpg\n', FaultLog())
    assert rows == [
        (3, {"note": 'two\nlines, and a "word"', "label": "cat", "image": "x, y.jpg"}),
        (4, {"note": "", "label": "dog", "image": "z.jpg"}),
    ]


def test_a_row_of_another_length_is_left_out() -> None:
    log = FaultLog("skip")
    assert [line for line, _ in read("image,label\na,b,c\nd,e\nf\n", log)] == [3]
    assert log.settle() == (
        Fault("t.csv", "line 2: expected 2 cells as in the header, found 3"),
        Fault("t.csv", "line 4: expected 2 cells as in the header, found 1"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header with the columns image and label, found none"),
        ("a.jpg,cat\nb.jpg,dog\n", "expected a header with the columns image and label, found a.jpg, cat"),
        (
            "image,lable\n",
            "expected a header with the columns image and label, found image, lable",
        ),
        ("image;label\n", "expected a header with the columns image and label, found image;label"),
        ("image,label,image\n", "line 1: column 'image' stands twice; rename one"),
        ('image,label\n"a', "line 2: is not CSV (unexpected end of data)"),
        ("image,label\n口罩.jpg,x\n".encode("gbk"), "is not UTF-8 text; save it as 'CSV UTF-8'"),
        ("image,label\n".encode("utf-16"), "is not UTF-8 text; save it as 'CSV UTF-8'"),
    ],
)
def test_files_that_cannot_be_used(content: str | bytes, message: str) -> None:
    log = FaultLog("skip")
    read(content, log)
    with pytest.raises(DataFaults) as caught:
        log.settle()
    assert caught.value.faults == [Fault("t.csv", message)]


def test_an_empty_file_is_told_also_after_other_faults() -> None:
    log = FaultLog()
    log.add_fatal("x", "y")
    read("", log)
    with pytest.raises(DataFaults, match=r"t.csv: expected a header"):
        log.settle()


def test_a_file_that_is_not_there() -> None:
    log = FaultLog()
    assert read_csv(Path("none.csv"), ("image",), "data.index names it", log) == []
    with pytest.raises(DataFaults, match=r"none.csv: no such file; data.index names it"):
        log.settle()


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("a.jpg", ""),
        ("sub/口罩 1.jpg", ""),
        ("", "the mask cell is empty"),
        ("sub\\a.jpg", "mask 'sub\\\\a.jpg' has backslashes; write it with /"),
        ("/a.jpg", "mask '/a.jpg' leaves the data folder; give it relative to data.root"),
        ("b/../../a.jpg", "mask 'b/../../a.jpg' leaves the data folder; give it relative to data.root"),
    ],
)
def test_cells_that_name_files(cell: str, fault: str) -> None:
    assert file_fault(cell, "mask", "data.root") == fault
