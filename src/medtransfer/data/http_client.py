"""What is asked of a host, and what its answers mean: ranges, versions, redirects, tokens, refusals."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from medtransfer.config.access import AccessSettings, may_have_token
from medtransfer.errors import DataError

NO_ACCESS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
WORTH_ANOTHER_TRY = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class TryAgainError(Exception):
    """The same address may do on another try, after ``delay`` seconds at the earliest."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.delay = delay


class AddressError(Exception):
    """This address won't do, however often it is tried."""


@dataclass(frozen=True)
class Credentials:
    """What hosts are shown, and what people are told where that isn't enough."""

    access: AccessSettings
    token: str | None = field(default=None, repr=False)

    def hint(self, url: str) -> str:
        """Why a host may have refused access."""
        if self.access.token is None:
            return f"not for everybody. {self.access.instructions}".strip()
        if not may_have_token(url):
            return f"the token in {self.access.token} is only sent by https"
        return f"the token in {self.access.token} may be expired or lack rights"


def read_credentials(access: AccessSettings) -> Credentials:
    """The access token, where the settings name one.

    Its text must not reach a message, not even that of a library.

    Raises:
        DataError: the environment variable is not set, or holds what no header may hold.
    """
    if access.token is None:
        return Credentials(access)
    token = os.environ.get(access.token, "").strip()
    if not token:
        raise DataError(
            f"environment variable {access.token} is not set: it must hold the access token. "
            f"{access.instructions}".strip()
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise DataError(
            f"environment variable {access.token} holds no token; allowed: ASCII characters, no spaces"
        )
    return Credentials(access, token)


def ask(
    url: str, start: int, version: str, credentials: Credentials, timeout: float
) -> http.client.HTTPResponse:
    """Ask for a file, or for the rest of it.

    Args:
        url: the address; redirects are followed, and leave the token behind with its host.
        start: the first byte to ask for.
        version: the validator of the bytes before; when the host has another version, it is to send
            all. Needed where ``start`` is not 0.
        credentials: with the token, which is sent where nobody else can read it.
        timeout: the longest silence, in seconds.

    Returns:
        The answer; to be closed.

    Raises:
        urllib.error.HTTPError: see :func:`refusal`.
        OSError, http.client.HTTPException, ValueError: see :func:`connection_problem`.
    """
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version)
    if credentials.token and may_have_token(url):
        request.add_unredirected_header("Authorization", f"Bearer {credentials.token}")
    opener = urllib.request.build_opener(_Redirects)
    # some hosts refuse the name that urllib gives itself
    opener.addheaders = [("User-Agent", "medtransfer")]
    return opener.open(request, timeout=timeout)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the token goes along only while these stay on the host it is for."""

    def redirect_request(self, req: urllib.request.Request, *details: Any) -> Any:
        request = super().redirect_request(req, *details)
        if request is None or request.type not in ("http", "https"):
            return None
        token = req.unredirected_hdrs.get("Authorization")
        if token and _origin(req.full_url) == _origin(request.full_url):
            request.add_unredirected_header("Authorization", token)
        return request


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def connection_problem(error: Exception, timeout: float) -> TryAgainError | AddressError:
    """Whether another try may do; what libraries say is shown only where it holds no address."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return AddressError(f"its certificate is not valid: {cause.verify_message}")
    if isinstance(cause, TimeoutError):
        return TryAgainError(f"no answer for {timeout:g} s")
    if isinstance(cause, ValueError | http.client.InvalidURL):
        return AddressError("not a usable address")
    if isinstance(cause, http.client.IncompleteRead):
        return TryAgainError("connection cut")
    return TryAgainError(getattr(cause, "strerror", None) or type(cause).__name__)


def refusal(error: urllib.error.HTTPError, credentials: Credentials) -> TryAgainError | AddressError:
    """What an error status means, but for 416, which only the bytes that are there can tell."""
    answer = status_words(error.code)
    if error.code in NO_ACCESS:
        return AddressError(f"{answer}: {credentials.hint(error.url)}")
    if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
        return AddressError(f"{answer}: redirects without end, or to no web address")
    if error.code in WORTH_ANOTHER_TRY or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TryAgainError(answer, _asked_delay(error.headers))
    return AddressError(answer)


def status_words(code: int) -> str:
    """A status with the standard words for it; a host's own could hold anything."""
    phrase = HTTPStatus(code).phrase if code in HTTPStatus.__members__.values() else ""
    return f"answers {code} {phrase}".rstrip()


def _asked_delay(headers: Message) -> float:
    """The seconds of a Retry-After header, which gives seconds or a date; 0 without one."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def extent(
    response: http.client.HTTPResponse, asked: int, version: str
) -> tuple[int, int | None] | None:
    """Which bytes of the file an answer holds.

    Args:
        response: the answer to :func:`ask`.
        asked: the first byte that was asked for.
        version: the validator of the bytes before it.

    Returns:
        The first byte, and the size of the whole file where it is known; None when the answer has other
        bytes than were asked for, or of another version.

    Raises:
        AddressError: the status is neither 200 nor 206.
    """
    if response.status == HTTPStatus.OK:
        return 0, response.length
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        raise AddressError(status_words(response.status))
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not found or found[1] != str(asked) or _is_other(response.headers, version):
        return None
    if found[2] != "*":
        return asked, int(found[2])
    return asked, None if response.length is None else asked + response.length


def size_beyond(headers: Message) -> int | None:
    """The size of the whole file, of an answer 416 that no bytes are left; None when it doesn't say."""
    found = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(found[2]) if found and found[2] != "*" else None


def _is_other(headers: Message, version: str) -> bool:
    """Whether an answer says itself that it is of another version, for a host without If-Range."""
    if not version:
        return False
    kind = "ETag" if version.startswith('"') else "Last-Modified"
    return str(headers.get(kind, version)) != version


def validator(headers: Message) -> str:
    """What names the version of a file, for If-Range, which allows no weak ETag (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag", "")
    return str(etag if etag.startswith('"') else headers.get("Last-Modified", ""))
