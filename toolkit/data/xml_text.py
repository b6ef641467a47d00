"""Parses XML from strangers: no document type, and so no entities that expand to gigabytes or read other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat


class XmlFault(Exception):
    """What is wrong with a file, as a sentence without the file's name."""


def parse_xml(path: Path) -> Element:
    """The root element of the file; ``XmlFault`` for what cannot be read, is no XML, or declares a document type."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise XmlFault(f"cannot be read ({error.strerror})") from None
    if not data.strip():
        raise XmlFault("is empty; expected XML")
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlFault(f"line {error.lineno}: is not XML ({expat.ErrorString(error.code)})") from None
    except (ValueError, LookupError) as error:  # an encoding that expat does not know
        raise XmlFault(f"is in an encoding that cannot be read ({error}); save it as UTF-8") from None
    return builder.close()


def _refuse(*_: Any) -> None:
    raise XmlFault("declares a document type (<!DOCTYPE>), which annotations have no use for; remove it")
