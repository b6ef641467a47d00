"""Reads the class names of a YOLO set: a text file with a name a line, or the ``names`` of a data.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.config.yaml_text import parse
from toolkit.data.fault_log import FaultLog, shown
from toolkit.errors import UserError


def read_names(path: Path, log: FaultLog) -> tuple[str, ...]:
    """The names in the order of their numbers; everything wrong with them is fatal."""
    file = shown(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        log.add_fatal(file, "no such file; data.names names a file with the class names, one a line, or a data.yaml")
        return ()
    except UnicodeDecodeError:
        log.add_fatal(file, "is not UTF-8 text; save it as UTF-8")
        return ()
    except OSError as error:
        log.add_fatal(file, f"cannot be read ({error.strerror})")
        return ()
    in_yaml = path.suffix.lower() in (".yaml", ".yml")
    names = _from_yaml(text, file, log) if in_yaml else _from_lines(text, file, log)
    for name in sorted({name for name in names if names.count(name) > 1}):
        log.add_fatal(file, f"names {name!r} twice")
    return names


def _from_lines(text: str, file: str, log: FaultLog) -> tuple[str, ...]:
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        log.add_fatal(file, "is empty; expected the class names, one a line")
    for number, name in enumerate(names, 1):
        if not name:  # leaving it out would shift the numbers of all that follow
            log.add_fatal(file, f"line {number}: is empty; expected the name of class {number - 1}")
    return tuple(names)


def _from_yaml(text: str, file: str, log: FaultLog) -> tuple[str, ...]:
    try:
        found = parse(text, file)[0].get("names")
    except UserError as error:
        log.add_fatal(file, str(error).removeprefix(f"{file}:"))
        return ()
    names = _in_order(found)
    if names is None:
        log.add_fatal(file, "expected names: a list of names, or a block of 0: name, 1: name, and so on")
        return ()
    return names


def _in_order(found: Any) -> tuple[str, ...] | None:
    if isinstance(found, dict):
        if set(found) != {str(number) for number in range(len(found))}:
            return None
        found = [found[str(number)] for number in range(len(found))]
    if not isinstance(found, list) or not found:
        return None
    names = [str(name) if isinstance(name, int) and not isinstance(name, bool) else name for name in found]
    return tuple(names) if all(isinstance(name, str) and name for name in names) else None
