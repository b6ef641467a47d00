"""YAML 1.2's meaning of plain words, lines of keys, and one sentence for each thing that a config may not hold."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config.yaml_text import dump, parse, parse_value, read_text
from toolkit.errors import UserError

# Section 10.3.2 of YAML 1.2.2, and the words that YAML 1.1 read otherwise.
PLAIN_WORDS = [
    ("", None),
    ("~", None),
    ("null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("true", True),
    ("False", False),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("0", 0),
    ("-7", -7),
    ("+7", 7),
    ("010", 10),  # eight in YAML 1.1
    ("0o17", 15),
    ("0x1F", 31),
    ("0b1", "0b1"),
    ("1_000", "1_000"),
    ("1e-3", 1e-3),
    ("2E5", 2e5),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5", -0.5),
    ("+1.5e+2", 150.0),
    (".", "."),
    ("e3", "e3"),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("12:30", "12:30"),
    ("2026-01-31", "2026-01-31"),
    ("1.0.0", "1.0.0"),
    ("'5'", "5"),
    ('"no"', "no"),
    ('"true"', "true"),
    ("=", "="),
    ("zoo:mask_detection", "zoo:mask_detection"),
    ("/my pictures", "/my pictures"),
    ("[416, 416]", [416, 416]),
    ("[a, 1e-3, [no]]", ["a", 1e-3, ["no"]]),
    ("{name: sgd, lr: .1}", {"name": "sgd", "lr": 0.1}),
    ("[]", []),
    ("{}", {}),
]


@pytest.mark.parametrize(("text", "expected"), PLAIN_WORDS)
def test_plain_words(text: str, expected: object) -> None:
    data, _ = parse(f"key: {text}\n", "x.yaml")
    for value in (data["key"], parse_value(text, "override")):
        assert value == expected
        assert type(value) is type(expected)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_value(".nan", "override"))


def test_keys_are_texts() -> None:
    assert parse("no: 1\n5: 2\n'null': 3\n", "x.yaml")[0] == {"no": 1, "5": 2, "null": 3}


def test_lines_of_keys() -> None:
    text = "# comment\nname: a\n\ntrain:\n  epochs: 5\n  lists:\n    - 1\n    - {p: 2,\n       q: 3}\n"
    _, lines = parse(text, "x.yaml")
    assert lines == {
        ("name",): 2,
        ("train",): 4,
        ("train", "epochs"): 5,
        ("train", "lists"): 6,
        ("train", "lists", 0): 7,
        ("train", "lists", 1): 8,
        ("train", "lists", 1, "p"): 8,
        ("train", "lists", 1, "q"): 9,
    }


REFUSED = [
    ("a: 1\nb: 2\na: 3\n", "x.yaml:3: a: this key already stands in line 1"),
    ("t:\n  lr: 1\n  'lr': 2\n", "x.yaml:3: t.lr: this key already stands in line 2"),
    ("a: {b: 1, b: 2}\n", "x.yaml:1: a.b: this key already stands in line 1"),
    ("- {a: 1, a: 2}\n", "x.yaml:1: expected keys such as 'name:' and 'data:' at the top, got a list"),
    ("", "x.yaml:1: expected keys such as 'name:' and 'data:' at the top, got nothing"),
    ("# only a comment\n", "x.yaml:1: expected keys such as 'name:' and 'data:' at the top, got nothing"),
    ("just words\n", "x.yaml:1: expected keys such as 'name:' and 'data:' at the top, got a single value"),
    ("a: 1\nb: &x 2\n", "x.yaml:2: anchors and aliases"),
    ("a: 1\nb: *x\n", "x.yaml:2: anchors and aliases"),
    ("a:\n  <<: {b: 1}\n", "x.yaml:2: merge keys (<<)"),
    ("a: !!python/object:os.system x\n", "x.yaml:1: the tag !!python/object:os.system is not used"),
    ("a: !mine x\n", "x.yaml:1: the tag !mine is not used"),
    ("a: !!str 5\n", "x.yaml:1: the tag !!str is not used"),
    ("a: 1\n---\nb: 2\n", "x.yaml:2: a second document begins here"),
    ("a:\n\tb: 1\n", "x.yaml:2: a tab stands where only spaces may"),
    ("a: 1\nb: c: d\n", "x.yaml:2: not valid YAML: mapping values are not allowed here"),
    ("a: [1, 2\n", "not valid YAML"),
    ('a: "open\n', "not valid YAML"),
    ("a: 1\n b: 2\n", "x.yaml:2: not valid YAML"),
    ("? [1, 2]\n: 3\n", "x.yaml:1: expected a key that is one word"),
    ("a: 1\nb: \x07\n", "x.yaml:2: the character U+0007 cannot stand in YAML"),
    ('a: "\\ud800"\n', "x.yaml:1: an escape sequence"),
    ("a: " + "[" * 2000, "x.yaml:1: blocks are nested more than 50 deep"),
    ("a: " + "9" * 5000, "x.yaml:1: a number of 5000 digits"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "x.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.yaml:")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/my #1", "override k: '#1' would be read as a comment; put the value in quotes"),
        ("#1", "override k: '#1' would be read as a comment; put the value in quotes"),
        ("[1] # two", "override k: '# two' would be read as a comment; put the value in quotes"),
        ("[1, 2", "override k: not valid YAML"),
        ("*.jpg", "override k: anchors and aliases"),
    ],
)
def test_value_of_an_override_is_never_cut(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_value(text, "override k")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfname: caf\xc3\xa9\ntask: b\n",
        b"name: caf\xc3\xa9\r\ntask: b\r\n",
    ],
    ids=["byte-order mark", "CRLF"],
)
def test_encodings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    data, lines = parse(read_text(tmp_path / "a.yaml", "a.yaml"), "a.yaml")
    assert data == {"name": "café", "task": "b"}
    assert lines[("task",)] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nname: caf\xe9\n", "a.yaml:2: expected UTF-8 text, got the byte 0xe9; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "a.yaml:1: expected UTF-8 text, got the byte 0xff; save the file as UTF-8"),
    ],
)
def test_other_encodings_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_text(tmp_path / "a.yaml", "a.yaml")
    assert str(caught.value) == message


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^b\.yaml: no such file"):
        read_text(tmp_path / "b.yaml", "b.yaml")
    with pytest.raises(UserError, match=r"^folder: expected a config file"):
        read_text(tmp_path, "folder")


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
_WORDS = st.sampled_from([text for text, _ in PLAIN_WORDS]) | _TEXT
_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_WORDS, _DATA, max_size=4))
def test_what_is_dumped_is_read_back(data: dict[str, object]) -> None:
    assert parse(dump(data) if data else "{}", "x.yaml")[0] == data
