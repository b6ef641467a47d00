"""Taking the picture out of a body: raw, or a form as browsers, curl and httpx write it."""

from __future__ import annotations

import contextlib
import email.generator
import email.mime.application
import email.mime.multipart
import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peak_memory import rises_less_than

from serve.body import inflate, unpack
from serve.errors import RequestError

BOUNDARY = "------------------------d74496d66958873e"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
PICTURE = bytes(range(256)) + b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n\r\n"  # nearly a boundary inside


def form(*parts: tuple[str, bytes], end: bool = True) -> bytearray:
    """Parts of (Content-Disposition, data)."""
    text = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
        + data
        + b"\r\n"
        for disposition, data in parts
    )
    return bytearray(text + (f"--{BOUNDARY}--\r\n".encode() if end else b""))


def headed(headers: bytes) -> bytearray:
    """A form of one picture that has more headers."""
    whole = form((FILE, PICTURE))
    place = whole.index(b"Content-Type")
    return whole[:place] + headers + whole[place:]


FILE = 'form-data; name="file"; filename="a.jpg"'


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "application/octet-stream", "image/png; charset=binary"])
def test_a_raw_body_is_the_picture(content_type: str) -> None:
    upload = unpack(bytearray(PICTURE), content_type)
    assert (upload.data, upload.name) == (PICTURE, "upload")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="file"; filename="street.jpg"', "street.jpg"),
        ("form-data; name=file; filename=street.jpg", "street.jpg"),
        ('form-data; filename="a b.jpg"; name="file"', "a b.jpg"),
        ('form-data; name="file"; filename="街.jpg"', "街.jpg"),
        ('form-data; name="file"', "upload"),  # no file name: curl -F file=<...
        ('form-data; name="file"; filename="%s"' % ("x" * 300 + ".jpg"), "x" * 251 + ".jpg"),
    ],
)
def test_a_form_gives_its_file_byte_by_byte(disposition: str, name: str) -> None:
    upload = unpack(form((disposition, PICTURE)), FORM)
    assert (upload.data, upload.name) == (PICTURE, name)


def test_a_form_that_another_library_wrote() -> None:
    """Python's own email package, with its own boundary and headers."""
    message = email.mime.multipart.MIMEMultipart("form-data")
    part = email.mime.application.MIMEApplication(PICTURE, "octet-stream", lambda each: None)
    part.add_header("Content-Disposition", "form-data", name="file", filename="a.bin")
    message.attach(part)
    text = io.BytesIO()
    email.generator.BytesGenerator(text, policy=message.policy.clone(linesep="\r\n")).flatten(message)
    head, _, body = text.getvalue().partition(b"\r\n\r\n")
    boundary = message.get_boundary()
    assert head
    assert unpack(bytearray(body), f'Multipart/Form-Data; boundary="{boundary}"').name == "a.bin"


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (bytearray(), "image/jpeg", "upload: is empty (0 bytes)"),
        (form((FILE, b"")), FORM, "a.jpg: is empty (0 bytes)"),
        (form(), FORM, "the form has 0 pictures"),
        (form(('form-data; name="image"', PICTURE)), FORM, "has a field 'image'; the picture goes in the field 'file'"),
        (
            form((FILE, PICTURE), ('form-data; name="score_threshold"', b"0.5")),
            FORM,
            "has a field 'score_threshold'; the picture goes in the field 'file', options in the query",
        ),
        (form(("form-data", PICTURE)), FORM, "has a field without a name"),
        (form((FILE, PICTURE), (FILE, PICTURE)), FORM, "the form has 2 pictures; send one a request"),
        (form(*[(FILE, b"x")] * 65), FORM, "more than 64 fields"),
        # python_multipart has bounds for these in its newer versions, with its own words.
        (headed(b"X-A: b\r\n" * 1_000_000), FORM, "the form "),
        (headed(b"X-A: " + b"b" * 1_000_000 + b"\r\n"), FORM, "the form "),
        (headed(b"X-" + b"A" * 1_000_000 + b": b\r\n"), FORM, "the form "),
        (form((FILE, PICTURE), end=False), FORM, "cut off"),
        (bytearray(), FORM, "cut off"),
        (form((FILE, PICTURE)), "multipart/form-data", "names no boundary"),
        (form((FILE, PICTURE)), "multipart/form-data; boundary=other", "the form cannot be read"),
        (form((FILE, PICTURE)), "multipart/form-data; boundary=" + "x" * 999, "the form cannot be read"),
        (bytearray(PICTURE), FORM, "the form cannot be read"),
    ],
)
def test_a_body_that_is_not_one_picture_is_a_400(body: bytearray, content_type: str, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        unpack(body, content_type)
    assert refused.value.status == 400
    assert sentence in refused.value.sentence


def test_a_form_cut_anywhere_is_refused() -> None:
    whole = form((FILE, b"0123456789"))
    closing = len(whole) - len("\r\n")  # the last line break may be missing
    for length in range(closing):
        with pytest.raises(RequestError):
            unpack(whole[:length], FORM)
    assert unpack(whole[:closing], FORM).data == b"0123456789"


@given(st.binary(max_size=300), st.integers(0, 200))
def test_noise_in_a_form_is_read_or_refused_never_more(noise: bytes, position: int) -> None:
    body = form((FILE, PICTURE))
    body[position : position + len(noise)] = noise
    with contextlib.suppress(RequestError):
        unpack(body, FORM)


ZEROS = 100 * 10**6
BOMB = gzip.compress(bytes(ZEROS), 9)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("plain", [b"", b"x", bytes(range(256)) * 400])
def test_a_compressed_body_is_inflated(encoding: str, compress: object, plain: bytes) -> None:
    assert inflate(compress(plain), encoding, len(plain)) == plain  # type: ignore[operator]


@pytest.mark.parametrize(
    ("data", "encoding", "status", "sentence"),
    [
        (BOMB, "gzip", 413, "the body, inflated, is longer than the 1 MiB this service accepts"),
        (gzip.compress(bytes(2**20 + 1)), "gzip", 413, "longer than the 1 MiB"),
        (b"hello", "gzip", 400, "the body is not gzip, as its Content-Encoding says, or it is damaged"),
        (gzip.compress(b"hello"), "deflate", 400, "the body is not deflate"),
        (gzip.compress(b"hello")[:-9] + bytes(9), "gzip", 400, "is damaged"),  # the checksum
        (gzip.compress(b"hello")[:-1], "gzip", 400, "the body is cut off: its gzip stream has no end"),
        (b"", "gzip", 400, "cut off"),
        (gzip.compress(b"") * 2, "gzip", 400, "the body goes on after the end of its gzip stream"),
        (zlib.compress(b"hello") + b"x", "deflate", 400, "the body goes on"),
    ],
)
def test_a_compressed_body_that_is_refused(data: bytes, encoding: str, status: int, sentence: str) -> None:
    assert len(BOMB) < 98_000  # a thousandth of what it holds
    with rises_less_than(5), pytest.raises(RequestError) as refused:
        inflate(data, encoding, 2**20)
    assert (refused.value.status, sentence in refused.value.sentence) == (status, True)
