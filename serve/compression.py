"""Packs answers as gzip or deflate where the client asks for it; bodies that come packed are `serve.body`'s."""

from __future__ import annotations

import zlib

from serve.negotiation import weights

IDENTITY = "identity"
# zlib's number for each form: deflate is zlib's own (RFC 9110, section 8.4.1.2), gzip adds 16.
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# The fastest level: an answer that is packed harder comes later than one that is sent longer.
_LEVEL = 1
_SHORTEST = 1024


def choose_encoding(accept: str) -> str:
    """How an answer is packed for this Accept-Encoding header: as the client likes best, and not where it is silent."""
    listed = dict(weights(accept, "Accept-Encoding"))
    best = max(_WINDOW, key=lambda encoding: listed.get(encoding, listed.get("*", 0.0)))
    weight = listed.get(best, listed.get("*", 0.0))
    return best if weight > 0 and weight >= listed.get(IDENTITY, 0.0) else IDENTITY


def compress(content: bytes, encoding: str) -> tuple[bytes, str]:
    """Pack ``content`` as ``encoding`` and say how it was packed: what is short already stays as it is."""
    if encoding == IDENTITY or len(content) < _SHORTEST:
        return content, IDENTITY
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW[encoding])
    return packer.compress(content) + packer.flush(), encoding
