"""XML as the standard library reads it, without document types."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from toolkit.data.xml_text import XmlFault, parse_xml

SOUND = [
    b"<a/>",
    b"<a><b>1</b><b>2</b> tail <c x='1'/></a>",
    '<?xml version="1.0" encoding="utf-8"?>\n<!-- note --><a>口罩 &amp; &#20320;<![CDATA[<b>]]></a>'.encode(),
    "\ufeff<a>x</a>".encode(),
    '<?xml version="1.0" encoding="utf-16"?><a>猫</a>'.encode("utf-16"),
    '<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode("latin-1"),
    b"<a>\r\n  <b>1</b>\r\n</a>\r\n",
]


@pytest.mark.parametrize("data", SOUND)
def test_sound_files_are_read_as_by_the_standard_library(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    expected = ElementTree.fromstring(data)
    assert ElementTree.tostring(parse_xml(tmp_path / "a.xml")) == ElementTree.tostring(expected)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"<a><b></a>", "line 1: is not XML (mismatched tag)"),
        (b"<a>\n\n<b>", "line 3: is not XML (no element found)"),
        (b"<a/><b/>", "line 1: is not XML (junk after document element)"),
        (b"\x00\x01", "line 1: is not XML ("),
        (b"<a>\xff</a>", "line 1: is not XML ("),
        (b"<!DOCTYPE a><a/>", "declares a document type"),
        (b"<a>&undefined;</a>", "line 1: is not XML (undefined entity)"),
        (b'<?xml version="1.0" encoding="big5"?><a/>', "is in an encoding that cannot be read"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "is "),
    ],
)
def test_faults(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(XmlFault) as caught:
        parse_xml(tmp_path / "a.xml")
    assert str(caught.value).startswith(sentence)


def test_a_billion_laughs_cost_nothing(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(12))
    (tmp_path / "a.xml").write_text(f'<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><a>&l12;</a>')
    with pytest.raises(XmlFault, match="declares a document type"):
        parse_xml(tmp_path / "a.xml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(XmlFault, match=r"cannot be read \(No such file or directory\)"):
        parse_xml(tmp_path / "a.xml")
