"""HTML by functions: what is no `Html` already is escaped where it is put in, names of files and classes too."""

from __future__ import annotations

import base64
import html


class Html(str):
    """Text that is HTML."""


def tag(name: str, /, *children: str | None, **attributes: str | None) -> Html:
    """An element with its children; None leaves a child or an attribute out. ``class_`` is written class.

    >>> tag("p", "1 < 2", tag("b", "so"), class_="note")
    '<p class="note">1 &lt; 2<b>so</b></p>'
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(text(child) for child in children if child is not None)
    return Html(f"<{name}{told}>" if name in ("img", "meta") else f"<{name}{told}>{inner}</{name}>")


def text(value: str) -> Html:
    """The value as it reads; markup in it is shown, not obeyed."""
    return value if isinstance(value, Html) else Html(html.escape(_printable(value)))


def join(*parts: str | None) -> Html:
    """Several elements one after the other."""
    return Html("\n".join(text(part) for part in parts if part is not None))


def picture(data: bytes, kind: str, meaning: str) -> Html:
    """An image that lies in the page itself; ``kind`` is png or jpeg, ``meaning`` is for those who do not see it."""
    return tag("img", src=f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", alt=meaning)


def _printable(value: str) -> str:
    """Names of files may hold bytes that are no text, which no page can hold."""
    return value.encode("utf-8", "replace").decode("utf-8")
