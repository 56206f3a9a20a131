"""Requests to a web server for one file: logins, redirects and waiting, and what an answer without the file means."""

import ipaddress
from email.utils import parsedate_to_datetime
from time import sleep, time
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from vqcheck.checkpoint.remote.address import Address, WebPlace
from vqcheck.checkpoint.remote.transfers import transfers
from vqcheck.errors import CheckpointError
from vqcheck.language import tr
from vqcheck.sanitize import sanitize_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest, Response

WHOLE: Final = tr("--download reads it whole first, or download it (curl -LO) and name the file")
CHANGED: Final = tr("was written or replaced while it was read; run again when nothing writes to it")

_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_EXPIRED: Final = (401, 403, 404, 410)
"""How a place that was led to answers once its signature is out of date."""
_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)


class TryAgainError(Exception):
    """Something that may be over the next time."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class WebRequests:
    """Asks one web server for one file. Proxies, .netrc and certificates are those of the environment.

    Attributes:
        count: how many requests were sent until now.

    Raises:
        CheckpointError: a package is missing, or the address is of plain http.

    """

    def __init__(self, address: Address, place: WebPlace, token: str = "") -> None:
        self._address = address
        self._place = place
        require_encrypted(address, place.url)
        try:
            from requests import Session
        except ImportError:
            raise self.error(not_installed("requests", address.scheme)) from None
        self._session = Session()
        # It would read all that comes with a redirect before it says that there is one.
        self._session.resolve_redirects = lambda *_, **__: iter(())  # type: ignore[assignment, method-assign]
        self._auth: Callable[[PreparedRequest], PreparedRequest] | tuple[str, str] | None = place.login
        if token:
            self._auth = _Bearer(token)
        self._led_to = ""
        """Where redirects led, which is asked at once from then on."""
        self.count = 0

    def ask(self, part: str = "") -> "Response":
        """Return the answer to a request for a part (`bytes=0-99`) or all; logins go to the address's own host.

        Raises:
            TryAgainError: the server cannot be reached now.
            CheckpointError: it cannot be asked, or leads elsewhere than it should.

        """
        from requests.exceptions import ConnectionError as NotConnected
        from requests.exceptions import RequestException, SSLError, Timeout
        from urllib3.exceptions import NameResolutionError

        url = self._led_to or self._place.url
        headers = {"Accept-Encoding": "identity", "User-Agent": "vqcheck"}
        headers |= {"Range": part} if part else {}
        limits = transfers().limits
        for _ in range(_MOST_REDIRECTS + 2):
            self.count += 1
            if self.count > limits.requests:
                raise self.error(
                    tr(
                        "needs more than {requests} requests to be read in parts; {whole}",
                        requests=limits.requests,
                        whole=WHOLE,
                    )
                )
            auth = self._auth if _origin(url) == _origin(self._place.url) else None
            try:
                response = self._session.get(
                    url,
                    headers=headers,
                    auth=auth,
                    stream=True,
                    allow_redirects=False,
                    timeout=(limits.connect, limits.silence),
                )
            except SSLError:
                raise self.error(tr("the certificate of {host} cannot be verified", host=self.host)) from None
            except (NotConnected, Timeout) as error:
                if isinstance(getattr(error.args[0] if error.args else None, "reason", None), NameResolutionError):
                    raise self.error(
                        tr("{host} is not known: a slip in the name, or no network", host=self.host)
                    ) from None
                raise TryAgainError(tr("{host} cannot be reached, or does not answer", host=self.host)) from None
            except (RequestException, ValueError, OSError) as error:
                raise self.error(tr("cannot be asked for ({kind})", kind=type(error).__name__)) from None
            if response.status_code in _REDIRECTS:
                response.close()
                url = self._next(url, response.headers.get("Location", ""))
            elif response.status_code in _EXPIRED and url == self._led_to:
                response.close()
                self._led_to, url = "", self._place.url
            else:
                self._led_to = url if url != self._place.url else ""
                return response
        raise self.error(tr("{host} leads from place to place", host=self.host))

    def _next(self, url: str, location: str) -> str:
        """Return where a redirect leads; raises CheckpointError where nobody should follow it."""
        try:
            to = urljoin(url, location)
            parts = urlsplit(to)
            parts.port  # noqa: B018 - asks whether it is one
        except ValueError:
            to, parts = "", urlsplit("")
        if not location or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise self.error(tr("{host} leads to no address", host=self.host))
        if parts.scheme == "http" and urlsplit(url).scheme == "https":
            raise self.error(tr("{host} leads to an address that is not encrypted", host=self.host))
        if _is_inside(parts.hostname) and not _is_inside(urlsplit(self._place.url).hostname or ""):
            raise self.error(tr("{host} leads to an address inside this network", host=self.host))
        return to

    def refuse(self, response: "Response") -> None:
        """Raise what an answer without the file means."""
        status, host = response.status_code, self.host
        if status in _AGAIN:
            raise TryAgainError(
                tr("{host} answers {status}", host=host, status=status),
                _seconds_to_wait(response.headers.get("Retry-After")),
            )
        if status in (404, 410):
            raise self.error(tr("{host} has no such file ({status})", host=host, status=status))
        if status in (401, 403, 407):
            of_hub = self._address.scheme == "hf"
            how = (
                tr("HF_TOKEN or 'hf auth login' gives access")
                if of_hub
                else tr("a login is read from .netrc or the address")
            )
            raise self.error(tr("{host} refuses access ({status}); {how}", host=host, status=status, how=how))
        if status == 416:
            raise self.error(CHANGED)
        raise self.error(tr("{host} answers {status}", host=host, status=status))

    def refuse_page(self, response: "Response") -> None:
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise self.error(tr("is a web page (HTML); name the file itself (on a hub: hf://OWNER/REPO/FILE)"))

    def refuse_packed(self, response: "Response") -> None:
        packed = response.headers.get("Content-Encoding", "identity").lower()
        if packed != "identity":
            raise self.error(
                tr(
                    "{host} sends it compressed ({packed}) though it was asked not to",
                    host=self.host,
                    packed=sanitize_name(packed),
                )
            )

    def close(self) -> None:
        self._session.close()

    @property
    def host(self) -> str:
        return urlsplit(self._led_to or self._place.url).netloc

    def error(self, reason: str) -> CheckpointError:
        return CheckpointError(reason, self._address)


def not_installed(package: str, scheme: str) -> str:
    """Return the line for a package that reading such addresses takes."""
    return tr("reading {scheme}:// needs {package}: pip install 'vqcheck[remote]'", scheme=scheme, package=package)


def pause(asked: float | None, failures: int, error: "Callable[[str], CheckpointError]") -> None:
    """Wait before the next try: as long as the server asked for, else twice as long as the time before.

    Raises:
        CheckpointError: the server asks for more than anybody waits; made by `error`.

    """
    limits = transfers().limits
    if asked is not None and asked > limits.longest_wait:
        raise error(
            tr("its server has too much to do, and asks to wait {asked:.0f} seconds; try again then", asked=asked)
        )
    sleep(asked if asked is not None else min(limits.first_wait * 2 ** (failures - 1), limits.longest_wait))


class _Bearer:
    """Puts a token into a request; not a header of the session, which would go to every host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: "PreparedRequest") -> "PreparedRequest":
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def require_encrypted(address: Address, url: str) -> None:
    """Refuse plain http but to this machine: on the way anybody could put other bytes in the place of the file's."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise CheckpointError(
            tr("is not encrypted, so anybody on the way could change the file; use https://"), address
        )


def _is_this_machine(host: str) -> bool:
    literal = _literal(host)
    return literal.is_loopback if literal else host.rstrip(".").lower() == "localhost"


def _is_inside(host: str) -> bool:
    literal = _literal(host)
    return not literal.is_global if literal else _is_this_machine(host)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _seconds_to_wait(said: str | None) -> float | None:
    """Return what `Retry-After` comes to: seconds, or a date."""
    if said is None:
        return None
    if said.strip().isdecimal() and len(said) < 10:
        return float(said)
    then = seconds(said)
    return max(0.0, then - time()) if then is not None else None
