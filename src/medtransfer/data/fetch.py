"""The files of a public data set come into their folder: resumed, verified, never overwritten.

A download is streamed to ``.<name>.part`` beside its target and renamed when it is complete and
verified. ``.<name>.part.json`` remembers of which version of the file the part is, so that another
try, by the same process or a later one, asks for the missing bytes only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import io
import json
import math
import os
import random
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from medtransfer.config.access import AccessSettings, RemoteFileSettings
from medtransfer.data.archives import contents, is_archive, shown_size, unpack
from medtransfer.errors import ConfigError, DataError

BLOCK = 1 << 20
ALREADY_THERE = "already there"
NO_ACCESS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
WORTH_ANOTHER_TRY = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
CLIENT_LINES = 10

Report = Callable[[str], None]
Record = dict[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try; times in seconds."""

    timeout: float = 60.0
    """longest silence of a host, on connecting and between bytes"""
    tries: int = 6
    """of one address, in a row without any new byte"""
    most_tries: int = 100
    """of one address, in all"""
    first_wait: float = 1.0
    """before the second try; doubled with each further one, give or take a half at random"""
    longest_wait: float = 300.0
    """a host that asks for a longer one is given up"""
    report_every: float = 10.0
    """between two lines about one file"""


PATIENT = Patience()


class _AgainError(Exception):
    """The same address may do on another try, after ``delay`` seconds at the earliest."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.delay = delay


class _NextError(Exception):
    """This address won't do, however often it is tried."""


@dataclass(frozen=True)
class _Session:
    """What the downloads of one data set share."""

    access: AccessSettings
    folder: Path
    token: str | None
    patience: Patience
    report: Report
    stop: threading.Event = field(default_factory=threading.Event)
    # archives of one data set often hold parts of the same folders
    unpacking: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class _Part:
    """The bytes of a file so far and, beside them, which version at which address they are of."""

    target: Path

    @property
    def path(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def notes(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part.json")

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str | None:
        """The validator of the version that the bytes are of; None when of another address."""
        try:
            notes = json.loads(self.notes.read_text())
            return str(notes["validator"]) if notes["address"] == _fingerprint(url) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, url: str, validator: str) -> None:
        """Empty, with a note of what is to come."""
        self.discard()
        self.path.touch()
        self.notes.write_text(json.dumps({"address": _fingerprint(url), "validator": validator}))

    def discard(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        os.replace(self.path, self.target)
        self.notes.unlink(missing_ok=True)


def fetch(
    access: AccessSettings,
    folder: Path,
    connections: int = 2,
    report: Report = lambda _: None,
    patience: Patience = PATIENT,
) -> Record:
    """Bring the files of a data set into a folder, and check that all that is expected is there.

    Files that are there with the right checksum are kept; a file that is there with a wrong one is an
    error, for a person may have placed it. The owner's client is run only when something expected is
    missing. Archives that hold something expected and missing are unpacked.

    Args:
        access: what to fetch, from where, and what must be there in the end.
        folder: made when it isn't there.
        connections: files fetched at once, at most.
        report: is given lines about the progress; called by one thread at a time.
        patience: timeouts, numbers of tries and waits.

    Returns:
        ``{"files": [...], "expected": [...]}``; of each file its name, size in bytes, sha256 and
        source: the address without its query, or ``"already there"``.

    Raises:
        DataError: with one line for each file that can't be had, with what is missing in the end and
            how to get it, or with the missing environment variable.
        ConfigError: ``connections`` is less than 1.
    """
    if connections < 1:
        raise ConfigError(f"connections is {connections}; allowed: at least 1")
    with _disk_problems_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in access.files if not (folder / file.name).exists()]
        token = _token(access) if missing else None
        session = _Session(access, folder, token, patience, _one_at_a_time(report))
        _announce(session, missing)
        files = _bring_all(session, connections)
        _complete(session)
    return {"files": files, "expected": list(access.expected)}


def _token(access: AccessSettings) -> str | None:
    """The access token; its text must not reach a message, not even that of a library."""
    if access.token is None:
        return None
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
    return token


def _one_at_a_time(report: Report) -> Report:
    lock = threading.Lock()

    def locked(line: str) -> None:
        with lock:
            report(line)

    return locked


def _announce(session: _Session, missing: Sequence[RemoteFileSettings]) -> None:
    """Say how much is to come, and refuse what doesn't fit on the disk."""
    if not missing:
        return
    needed = sum(max(0, f.size - _Part(session.folder / f.name).length()) for f in missing)
    size = shown_size(needed)
    if not all(file.size for file in missing):
        size = f"at least {size}" if needed else "of unknown size"
    session.report(f"{len(missing)} file{'s' * (len(missing) > 1)}, {size}")
    _check_space(session.folder, needed)


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    if needed > free:
        raise DataError(
            f"{path}: {shown_size(needed)} needed, {shown_size(free)} free; make room and run this "
            "again, what is fetched is kept"
        )


def _bring_all(session: _Session, connections: int) -> list[Record]:
    """All files, some at once; those that fail don't keep the others from completing."""
    with ThreadPoolExecutor(connections) as pool:
        futures = [pool.submit(_bring, session, file) for file in session.access.files]
        try:
            wait(futures)
        except BaseException:
            session.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    failures = [str(error) for error in map(_failure, futures) if error]
    if failures:
        raise DataError("\n".join(failures))
    return [future.result() for future in futures]


def _failure(future: Future[Record]) -> DataError | None:
    error = future.exception()
    if error is None or isinstance(error, DataError):
        return error
    raise error


def _bring(session: _Session, file: RemoteFileSettings) -> Record:
    """One file, there and verified, unpacked when it is to be; returns its record."""
    target = session.folder / file.name
    with _disk_problems_named(target):
        if target.exists():
            source, sha256 = ALREADY_THERE, _verified_in_place(file, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            source, sha256 = _download(session, file, target)
        if file.unpack:
            _unpack_once(session, target, sha256)
        return {
            "name": file.name,
            "size": target.stat().st_size,
            "sha256": sha256,
            "source": source,
        }


@contextlib.contextmanager
def _disk_problems_named(path: Path) -> Iterator[None]:
    """An OSError of the file system becomes a DataError; those of connections are caught before."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{path}: the disk is full; make room and run this again, what is fetched is kept"
            ) from error
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from error


def _verified_in_place(file: RemoteFileSettings, target: Path) -> str:
    """The sha256 of a file that is there."""
    sha256, problem = _verified(file, target)
    if problem:
        raise DataError(
            f"{target}: {problem}; it was there before and isn't overwritten: delete it to fetch it "
            "again"
        )
    return sha256


def _verified(file: RemoteFileSettings, path: Path) -> tuple[str, str]:
    """The sha256 of a file, and what is wrong with it: nothing, its size or a checksum."""
    found = {"sha256": hashlib.sha256()}
    if file.md5:
        found["md5"] = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            for digest in found.values():
                digest.update(block)
    sha256, size = found["sha256"].hexdigest(), path.stat().st_size
    if file.size and size != file.size:
        return sha256, f"{size} bytes found, expected {file.size}"
    for kind, digest in found.items():
        expected = getattr(file, kind)
        if expected is not None and digest.hexdigest() != expected:
            return sha256, f"{kind} {digest.hexdigest()} found, expected {expected}"
    return sha256, ""


def _download(session: _Session, file: RemoteFileSettings, target: Path) -> tuple[str, str]:
    """From the first address that gives the file: this address, as shown, and the sha256."""
    failures = []
    for url in file.urls:
        try:
            return _shown(url), _download_from(session, file, url)
        except _NextError as error:
            failures.append(f"{_shown(url)}: {error}")
            session.report(f"{file.name}: {failures[-1]}")
    raise DataError(f"{target}: not fetched: {'; '.join(failures)}")


def _download_from(session: _Session, file: RemoteFileSettings, url: str) -> str:
    """Receive and verify a file; a part of an earlier run that proves wrong isn't held against it."""
    part = _Part(session.folder / file.name)
    continued = part.length() > 0
    _receive(session, file, url)
    sha256, problem = _verified(file, part.path)
    if problem and continued:
        part.discard()
        session.report(f"{file.name}: {problem}; starting over")
        _receive(session, file, url)
        sha256, problem = _verified(file, part.path)
    if problem:
        part.discard()
        raise _NextError(problem)
    part.finish()
    return sha256


def _receive(session: _Session, file: RemoteFileSettings, url: str) -> None:
    """Ask an address for the missing bytes until all are there."""
    part, patience = _Part(session.folder / file.name), session.patience
    furthest, tries = part.length(), 0
    for _ in range(patience.most_tries):
        try:
            return _receive_once(session, file, url)
        except _AgainError as error:
            progress = part.length() > furthest
            furthest, tries = max(furthest, part.length()), 1 if progress else tries + 1
            if tries >= patience.tries:
                raise _NextError(f"{error}; given up after {tries} tries") from error
            _pause(session, file, tries, error)
    raise _NextError(f"given up after {patience.most_tries} tries")


def _pause(session: _Session, file: RemoteFileSettings, tries: int, error: _AgainError) -> None:
    patience = session.patience
    if error.delay > patience.longest_wait:
        raise _NextError(f"{error}; asks to wait {error.delay:.0f} s")
    growing = patience.first_wait * 2 ** (tries - 1) * random.uniform(0.5, 1.5)
    delay = max(error.delay, min(growing, patience.longest_wait))
    session.report(f"{file.name}: {error}; trying again in {delay:.0f} s")
    if session.stop.wait(delay):
        raise DataError(f"{file.name}: interrupted")


def _receive_once(session: _Session, file: RemoteFileSettings, url: str) -> None:
    """One request; problems of the connection and answers other than the file become errors."""
    part = _Part(session.folder / file.name)
    start = _usable_length(part, file, url)
    if file.size and start == file.size:
        return
    try:
        request = _request(session, url, start, part.version(url))
        with _opener().open(request, timeout=session.patience.timeout) as response:
            _store(session, file, url, response)
    except urllib.error.HTTPError as error:
        with error:
            _judge_refusal(session, part, error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _connection_problem(error, session.patience) from error


def _usable_length(part: _Part, file: RemoteFileSettings, url: str) -> int:
    """From which byte on to ask: 0 when the part's version isn't known or it is too long."""
    if not part.version(url) or (file.size and part.length() > file.size):
        return 0
    return part.length()


def _request(session: _Session, url: str, start: int, version: str | None) -> urllib.request.Request:
    request = urllib.request.Request(url)
    if start and version:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version)
    if session.token and _may_have_token(url):
        request.add_unredirected_header("Authorization", f"Bearer {session.token}")
    return request


def _may_have_token(url: str) -> bool:
    return url.startswith("https://") or urlsplit(url).hostname in LOCAL_HOSTS


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


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.build_opener(_Redirects)
    # some hosts refuse the name that urllib gives itself
    opener.addheaders = [("User-Agent", "medtransfer")]
    return opener


def _connection_problem(error: Exception, patience: Patience) -> Exception:
    """Whether another try may do; what libraries say is shown only where it holds no address."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _NextError(f"its certificate is not valid: {cause.verify_message}")
    if isinstance(cause, TimeoutError):
        return _AgainError(f"no answer for {patience.timeout:g} s")
    if isinstance(cause, ValueError | http.client.InvalidURL):
        return _NextError("not a usable address")
    if isinstance(cause, http.client.IncompleteRead):
        return _AgainError("connection cut")
    return _AgainError(getattr(cause, "strerror", None) or type(cause).__name__)


def _judge_refusal(session: _Session, part: _Part, error: urllib.error.HTTPError) -> None:
    """An error status: nothing to do when it says that the part is complete, else an error."""
    answer = f"answers {error.code} {_phrase(error.code)}".rstrip()
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        extent = CONTENT_RANGE.fullmatch(error.headers.get("Content-Range", ""))
        if extent and extent[2] == str(part.length()):
            return
        part.discard()
        raise _AgainError(answer)
    if error.code in NO_ACCESS:
        raise _NextError(f"{answer}: {_access_hint(session, error.url)}")
    if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
        raise _NextError(f"{answer}: redirects without end, or to no web address")
    if error.code in WORTH_ANOTHER_TRY or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _AgainError(answer, _asked_delay(error.headers))
    raise _NextError(answer)


def _phrase(code: int) -> str:
    """The standard words for a status; a host's own could hold anything."""
    return HTTPStatus(code).phrase if code in HTTPStatus.__members__.values() else ""


def _access_hint(session: _Session, url: str) -> str:
    access = session.access
    if access.token is None:
        return f"not for everybody. {access.instructions}".strip()
    if not _may_have_token(url):
        return f"the token in {access.token} is only sent by https"
    return f"the token in {access.token} may be expired or lack rights"


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


def _store(
    session: _Session, file: RemoteFileSettings, url: str, response: http.client.HTTPResponse
) -> None:
    """The bytes of an answer, put to those that are there."""
    part = _Part(session.folder / file.name)
    _refuse_web_page(file, response.headers)
    start, total = _extent(part, url, response)
    if file.size and total is not None and total != file.size:
        raise _NextError(f"{total} bytes offered, expected {file.size}")
    with _disk_problems_named(part.target):
        if start == 0:
            part.begin(url, _validator(response.headers))
        if total is not None:
            _check_space(part.target, total - start)
    _append(session, file, response, total)
    if total is not None and part.length() < total:
        raise _AgainError(f"connection cut after {part.length()} of {total} bytes")


def _refuse_web_page(file: RemoteFileSettings, headers: Message) -> None:
    wanted = file.sha256 or file.md5 or file.name.lower().endswith((".html", ".htm"))
    if not wanted and headers.get_content_type() == "text/html":
        raise _NextError(
            "the host answers with a web page instead of the file, perhaps to log in or to accept a "
            "licence"
        )


def _extent(part: _Part, url: str, response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """The byte that an answer begins at and the size of the whole file, where it is known."""
    if response.status == HTTPStatus.OK:
        return 0, response.length
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        raise _NextError(f"answers {response.status} {_phrase(response.status)}")
    extent = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    start = part.length()
    if not extent or extent[1] != str(start) or _is_other(response.headers, part.version(url)):
        part.discard()
        raise _AgainError("answers with other bytes than were asked for")
    if extent[2] != "*":
        return start, int(extent[2])
    return start, None if response.length is None else start + response.length


def _is_other(headers: Message, version: str | None) -> bool:
    """Whether an answer says itself that it is of another version, for a host without If-Range."""
    if not version:
        return False
    kind = "ETag" if version.startswith('"') else "Last-Modified"
    return str(headers.get(kind, version)) != version


def _validator(headers: Message) -> str:
    """What names the version of a file, for If-Range, which allows no weak ETag (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag", "")
    return str(etag if etag.startswith('"') else headers.get("Last-Modified", ""))


def _append(
    session: _Session, file: RemoteFileSettings, response: http.client.HTTPResponse, total: int | None
) -> None:
    part = _Part(session.folder / file.name)
    progress = _progress(session, file.name, part.length(), total)
    # unbuffered: what a killed process has received is on the disk
    with part.path.open("ab", buffering=0) as stream:
        # not read(): it would wait for a full block, and lose its beginning when the host goes silent
        while block := response.read1(BLOCK):
            if session.stop.is_set():
                raise DataError(f"{part.target}: interrupted")
            with _disk_problems_named(part.target):
                _write(stream, block)
            length = stream.tell()
            if file.size and length > file.size:
                raise _NextError(f"sends more than the expected {file.size} bytes")
            progress(length)
        with _disk_problems_named(part.target):
            os.fsync(stream.fileno())


def _write(stream: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[stream.write(rest) :]


def _progress(session: _Session, name: str, start: int, total: int | None) -> Callable[[int], None]:
    """A function that is told the number of bytes and reports it now and then."""
    begin = last = time.monotonic()

    def told(length: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= session.patience.report_every:
            last = now
            speed = shown_size((length - start) / max(now - begin, 1e-9))
            of = f" of {shown_size(total)}" if total else ""
            session.report(f"{name}: {shown_size(length)}{of}, {speed} a second")

    return told


def _shown(url: str) -> str:
    """An address without its query and user, which may hold secrets."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])


def _fingerprint(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _unpack_once(session: _Session, archive: Path, sha256: str) -> None:
    """Unpack beside the archive, unless all that is in it is there from the last time."""
    marker = archive.with_name(f".{archive.name}.unpacked.json")
    if not _is_unpacked(marker, sha256):
        session.report(f"{archive.name}: unpacking")
        with session.unpacking:
            files = unpack(archive, archive.parent)
        marker.write_text(json.dumps({"sha256": sha256, "files": files}))


def _is_unpacked(marker: Path, sha256: str) -> bool:
    try:
        notes = json.loads(marker.read_text())
        places = [marker.parent / name for name in notes["files"]]
        return notes["sha256"] == sha256 and all(place.exists() for place in places)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _complete(session: _Session) -> None:
    """All that is expected is there: from archives, from the owner's client, or placed by hand."""
    problems = _unpack_holders(session)
    if _missing(session) and session.access.client:
        _run_client(session)
        problems = _unpack_holders(session)
    missing = _missing(session)
    if missing:
        lines = [
            f"{session.folder}: missing: {', '.join(missing)}",
            *problems,
            session.access.instructions.strip(),
            f"put what is missing into {session.folder} and run this again",
        ]
        raise DataError("\n".join(line for line in lines if line))


def _missing(session: _Session) -> list[str]:
    return [name for name in session.access.expected if not (session.folder / name).exists()]


def _unpack_holders(session: _Session) -> list[str]:
    """Unpack the archives in the folder that hold something missing; returns what went wrong."""
    problems = []
    for archive in sorted(session.folder.iterdir()) if _missing(session) else []:
        if not is_archive(archive) or not archive.is_file() or archive.name.startswith("."):
            continue
        try:
            if _holds(archive, _missing(session)):
                session.report(f"{archive.name}: unpacking")
                unpack(archive, session.folder)
        except DataError as error:
            problems.append(str(error))
    return problems


def _holds(archive: Path, missing: Sequence[str]) -> bool:
    wanted = [PurePosixPath(name) for name in missing]
    found = map(PurePosixPath, contents(archive) if wanted else [])
    return any(name.is_relative_to(path) for name in found for path in wanted)


def _run_client(session: _Session) -> None:
    """Run the owner's client in the folder; all it says is reported, its last words on failure."""
    command = session.access.client
    session.report(f"running {command[0]}")
    try:
        process = subprocess.Popen(
            command,
            cwd=session.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise DataError(
            f"'{command[0]}' can't be run ({error.strerror}); install it and see to it that it is "
            f"found. {session.access.instructions}".strip()
        ) from error
    last_words = _followed(session, process)
    if process.returncode != 0:
        raise DataError(
            f"'{command[0]}' ended with status {process.returncode}:\n" + "\n".join(last_words)
        )


def _followed(session: _Session, process: subprocess.Popen[bytes]) -> Sequence[str]:
    """Report what a process says until it ends: the last lines of its stderr, else of its stdout."""
    assert process.stdout is not None and process.stderr is not None
    with process, ThreadPoolExecutor(2) as pool:
        out = pool.submit(_pump, session, process.stdout)
        err = pool.submit(_pump, session, process.stderr)
        try:
            process.wait()
        except BaseException:
            process.kill()
            raise
        return err.result() or out.result()


def _pump(session: _Session, stream: IO[bytes]) -> Sequence[str]:
    """Report the lines of a stream; of a progress bar, drawn over itself, only a line now and then."""
    program = Path(session.access.client[0]).name
    tail: deque[str] = deque(maxlen=CLIENT_LINES)
    last = -math.inf
    with io.TextIOWrapper(stream, "utf-8", "replace", newline="") as lines:
        for line in lines:
            overdrawn = line.endswith("\r") and time.monotonic() - last < session.patience.report_every
            if line.strip() and not overdrawn:
                last = time.monotonic()
                session.report(f"{program}: {line.strip()}")
                tail.append(line.strip())
    return tail
