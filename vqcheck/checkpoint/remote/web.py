"""Exact parts of a file on a web server: each answer is held to what was asked for and to the answers before it.

The HTTP file system of fsspec reads a whole file where a server ignores ranges, unpacks what is compressed on the way
and does not compare ETags, so that `requests` is used.
"""

import re
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Final

from vqcheck.checkpoint.remote.address import Address, WebPlace
from vqcheck.checkpoint.remote.transfers import transfers
from vqcheck.checkpoint.remote.web_requests import CHANGED, WHOLE, TryAgainError, WebRequests, pause, seconds
from vqcheck.language import tr

if TYPE_CHECKING:
    from requests import Response

FIRST: Final = 256 << 10
"""Bytes of the first part; a file that is no longer may come whole."""
_PIECE: Final = 64 << 10
_SETTLED: Final = 60
"""Seconds after which a file that is written again has another date for certain, though dates are whole seconds."""
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class WebSource:
    """One file on a web server, read in parts.

    Attributes:
        size: its bytes.

    Raises:
        CheckpointError: it cannot be read in parts, is not there, or the server does not do what it says.

    """

    def __init__(self, address: Address, place: WebPlace, token: str = "") -> None:
        self._server = WebRequests(address, place, token)
        self.size = -1
        self._seen = ("", "")
        """ETag and Last-Modified of the first answer."""
        self._is_settled = False
        self._first = b""
        try:
            self._first = self.fetch(0, FIRST)
        except BaseException:
            self.close()
            raise

    def fetch(self, start: int, size: int) -> bytes:
        """Return the bytes from `start`, `size` of them or as many as the file has.

        Raises:
            CheckpointError: as for the class, or the file changed since it was opened.

        """
        if start + size <= len(self._first):
            return self._first[start : start + size]
        error, limits = self._server.error, transfers().limits
        data, failures, tries = bytearray(), 0, 0
        while self.size < 0 or len(data) < min(size, self.size - start):
            before = len(data)
            try:
                self._receive(start, size, data)
            except TryAgainError as again:
                failures = failures + 1 if len(data) <= before else 1
                tries += 1
                if failures >= limits.tries or tries >= limits.all_tries:
                    raise error(tr("{reason} ({tries} tries)", reason=again.reason, tries=tries)) from None
                pause(again.wait, failures, error)
        return bytes(data)

    def close(self) -> None:
        self._server.close()

    def _receive(self, start: int, size: int, data: bytearray) -> None:
        """Append to `data` what of a part is missing still."""
        first = start + len(data)
        with self._server.ask(f"bytes={first}-{start + size - 1}") as response:
            if self._comes_whole(response):
                del data[:]
                expected = self.size
            else:
                expected = self._expected(response, first, start + size)
            for piece in pieces(self._server, response, expected):
                data += piece

    def _comes_whole(self, response: "Response") -> bool:
        """Say whether an answer is the whole file, which is short; raises CheckpointError where it is long."""
        server, length = self._server, response.headers.get("Content-Length", "")
        if response.status_code == 416 and self.size < 0 and response.headers.get("Content-Range") == "bytes */0":
            self.size = 0
            return True
        if response.status_code != 200:
            return False
        server.refuse_page(response)
        if self.size >= 0 or not length.isdecimal() or int(length) > FIRST:
            raise server.error(
                tr("{host} does not send parts of files (it ignores ranges); {whole}", host=server.host, whole=WHOLE)
            )
        server.refuse_packed(response)
        self.size = int(length)
        return True

    def _expected(self, response: "Response", first: int, end: int) -> int:
        """Return how many bytes an answer has, once its head is what was asked for."""
        server, length = self._server, response.headers.get("Content-Length", "")
        if response.status_code != 206:
            server.refuse(response)
        server.refuse_packed(response)
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            raise server.error(
                tr("{host} does not say which part of the file it sends; {whole}", host=server.host, whole=WHOLE)
            )
        begin, last, total = (int(number) for number in match.groups())
        if self.size >= 0:
            self._require_same(response, total)
        if begin != first or last != min(end, total) - 1:
            raise server.error(
                tr(
                    "{host} sends another part of the file than it was asked for; {whole}",
                    host=server.host,
                    whole=WHOLE,
                )
            )
        if length and length != str(last - first + 1):
            raise server.error(
                tr("{host} says two lengths of the part that it sends; {whole}", host=server.host, whole=WHOLE)
            )
        if self.size < 0:
            self._note(response)
            self.size = total
        return last - first + 1

    def _note(self, response: "Response") -> None:
        tag, date = self._seen = _validators(response)
        self._is_settled = bool(tag) and not tag.startswith("W/")
        if date and not self._is_settled:
            now, then = seconds(response.headers.get("Date", "")), seconds(date)
            self._is_settled = now is not None and then is not None and now - then >= _SETTLED

    def _require_same(self, response: "Response", total: int) -> None:
        server = self._server
        if not self._is_settled:
            raise server.error(
                tr(
                    "{host} says nothing by which a change of the file would show (ETag); {whole}",
                    host=server.host,
                    whole=WHOLE,
                )
            )
        if (_validators(response), total) != (self._seen, self.size):
            raise server.error(CHANGED)


def pieces(server: WebRequests, response: "Response", expected: int | None) -> Iterator[bytes]:
    """Yield the bytes of an answer as they come, `expected` of them; None where only their end tells how many.

    Raises:
        TryAgainError: the answer ends before.
        CheckpointError: it has more bytes, or they come too slowly.

    """
    from urllib3.exceptions import HTTPError

    limits, came = transfers().limits, 0
    begun = monotonic()
    while expected is None or came < expected:
        try:
            piece = response.raw.read1(
                _PIECE if expected is None else min(_PIECE, expected - came), decode_content=False
            )
        except (HTTPError, OSError):
            raise TryAgainError(tr("{host} cut the connection, or fell silent", host=server.host)) from None
        if not piece and expected is None:
            return
        if not piece:
            raise TryAgainError(tr("{host} cut the connection", host=server.host))
        yield piece
        came += len(piece)
        transfers().on_bytes(server.host, came, expected or came)
        if came != expected and monotonic() - begun > limits.start + came / limits.slowest:
            raise server.error(tr("{host} is too slow: {came} bytes came", host=server.host, came=came))
    if "Content-Length" not in response.headers and _has_more(response):
        raise server.error(tr("{host} sent more bytes than it was asked for", host=server.host))


def _has_more(response: "Response") -> bool:
    from urllib3.exceptions import HTTPError

    try:
        return bool(response.raw.read1(1, decode_content=False))
    except (HTTPError, OSError):
        return False


def _validators(response: "Response") -> tuple[str, str]:
    return response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
