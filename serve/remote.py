"""Fetches pictures that a request names by URL: only where the operator has named their hosts, and only from outside.

A service that fetches what strangers name can be made to ask its own network for them. So: https, hosts on a list,
port 443, no redirects; the name is resolved once, every address it has must be public, and that very address is
connected to, so that a second answer of the name server changes nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Collection
from contextlib import closing
from urllib.parse import SplitResult, urlsplit

from serve.body import Upload
from serve.errors import RequestError
from toolkit.errors import UserError

_PORT = 443
_CHUNK = 64 * 1024
_NAME_LENGTH = 255
_HOST = re.compile(r"(?=.{1,253}$)([A-Za-z0-9-]{1,63}\.)+[A-Za-z][A-Za-z0-9-]{0,62}")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PinnedConnection(http.client.HTTPSConnection):
    """HTTPS to a host by its name, at an address that has been checked."""

    def __init__(self, host: str, address: str, seconds: float) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(host, _PORT, timeout=seconds, context=self._tls)
        self._address = address

    def connect(self) -> None:
        """Connect to the address, and hold the certificate against the name."""
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


class RemotePictures:
    """The hosts that may be asked, and how much of them."""

    def __init__(
        self,
        hosts: Collection[str],
        max_bytes: int,
        *,
        seconds: float = 10.0,
        connect: Callable[[str, str, float], http.client.HTTPConnection] = PinnedConnection,
    ) -> None:
        """``hosts`` are full names; none (a service's default) refuses every URL. ``seconds`` are for all of it."""
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise UserError(f"picture host {host!r}: expected a host's full name, such as pictures.example.com")
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._connect = connect

    async def fetch(self, url: str) -> Upload:
        """The bytes behind ``url``; they are waited for in a thread of their own.

        Raises `RequestError`: 400 for a URL that may not be fetched, 413 for too many bytes, 502 for a host that does
        not give the picture.
        """
        return await asyncio.to_thread(self._fetch, self._checked(url))

    def _fetch(self, parts: SplitResult) -> Upload:
        host = str(parts.hostname)
        end = time.monotonic() + self._seconds
        try:
            with closing(self._connect(host, _public_address(host), self._seconds)) as connection:
                data = self._read(connection, parts, end)
        except (OSError, http.client.HTTPException) as error:  # also ssl's
            reason = "it took too long" if isinstance(error, TimeoutError) else type(error).__name__
            raise RequestError(502, f"the picture at {host} cannot be fetched ({reason})") from error
        return Upload(data, parts.path.rpartition("/")[2][-_NAME_LENGTH:] or host)

    def _checked(self, url: str) -> SplitResult:
        if not self._hosts:
            raise RequestError(400, "this service fetches no URLs; send the picture itself")
        try:
            parts = urlsplit(url)
            port = parts.port or _PORT
        except ValueError:
            raise RequestError(400, "the picture's URL cannot be read; send https://HOST/PATH") from None
        if parts.scheme != "https" or port != _PORT or parts.username is not None or not parts.hostname:
            raise RequestError(400, "the picture's URL must be https://HOST/PATH, without a port or a user")
        if parts.hostname not in self._hosts:
            raise RequestError(400, f"host {parts.hostname[:100]!r} is not one that this service fetches pictures from")
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise RequestError(400, "the picture's URL has characters that must be percent-encoded")
        return parts

    def _read(self, connection: http.client.HTTPConnection, parts: SplitResult, end: float) -> bytes:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "image/*", "Accept-Encoding": "identity"})
        answer = connection.getresponse()
        if answer.status != 200:  # a redirect too: where it leads, nobody has allowed
            raise RequestError(502, f"the host {parts.hostname} answered {answer.status}, expected 200")
        data = bytearray()
        while chunk := answer.read1(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise RequestError(413, f"the picture at {parts.hostname} has more bytes than are accepted here")
            if time.monotonic() > end:
                raise TimeoutError
        return bytes(data)


def _public_address(host: str) -> str:
    """An address of ``host``; `RequestError` 400 where one of them is not of the public Internet."""
    found = {str(info[4][0]) for info in socket.getaddrinfo(host, _PORT, type=socket.SOCK_STREAM)}
    for address in found:
        if not _is_public(address):
            raise RequestError(400, f"host {host!r} is at an address that is not public; send the picture itself")
    return min(found)


def _is_public(address: str) -> bool:
    """Whether it leads to the Internet, whatever IPv6 form an IPv4 address is wrapped in."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is not None:
            return _is_public(str(inner))
        if parsed in _NAT64 or parsed.teredo is not None:
            return False
    return parsed.is_global and not parsed.is_multicast
