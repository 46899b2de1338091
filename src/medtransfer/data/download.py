"""One file comes from the first of its addresses that gives it: resumed, tried again, verified."""

from __future__ import annotations

import http.client
import random
import threading
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from pathlib import Path

from medtransfer.config.access import RemoteFileSettings, shown_address
from medtransfer.data.archives import shown_size
from medtransfer.data.http_client import (
    AddressError,
    Credentials,
    TryAgainError,
    ask,
    connection_problem,
    extent,
    refusal,
    size_beyond,
    status_words,
    validator,
)
from medtransfer.data.partial_file import (
    BLOCK,
    PartialFile,
    check_space,
    disk_problems_named,
    verified,
)
from medtransfer.errors import DataError

Report = Callable[[str], None]


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


@dataclass(frozen=True)
class Downloads:
    """What the downloads of one data set share."""

    credentials: Credentials
    patience: Patience
    report: Report
    """is given lines about the progress"""
    stop: threading.Event = field(default_factory=threading.Event)
    """ends all of them soon when it is set"""


def download(file: RemoteFileSettings, target: Path, shared: Downloads) -> tuple[str, str]:
    """Bring one file from the first address that gives it.

    Args:
        file: its addresses, and its size and checksums where they are known.
        target: where it goes; the folder is there, the file is not.
        shared: the token, how patient to be, who is told.

    Returns:
        The address without its query, and the sha256 of the file.

    Raises:
        DataError: no address gave the right file; the reason for each is named. Or the disk is full, or
            the downloads were stopped; then what was received is kept for the next run.
    """
    failures = []
    for url in file.urls:
        try:
            sha256 = _Download(file, url, PartialFile(target), shared).complete()
            return shown_address(url), sha256
        except AddressError as error:
            failures.append(f"{shown_address(url)}: {error}")
            shared.report(f"{file.name}: {failures[-1]}")
    raise DataError(f"{target}: not fetched: {'; '.join(failures)}")


@dataclass(frozen=True)
class _Download:
    """One file from one address; the methods raise an AddressError when this won't do."""

    file: RemoteFileSettings
    url: str
    part: PartialFile
    shared: Downloads

    def complete(self) -> str:
        """Receive, verify and name the file; returns its sha256."""
        continued = self.part.length() > 0
        sha256, problem = self._received()
        if problem and continued:  # an earlier run's part may be to blame, not the address
            self.part.discard()
            self._report(f"{problem}; starting over")
            sha256, problem = self._received()
        if problem:
            self.part.discard()
            raise AddressError(problem)
        self.part.finish()
        return sha256

    def _received(self) -> tuple[str, str]:
        """Ask for the missing bytes until all are there; returns the sha256 and what is wrong."""
        patience = self.shared.patience
        furthest, tries = self.part.length(), 0
        for _ in range(patience.most_tries):
            try:
                self._receive_rest()
                return verified(self.file, self.part.path)
            except TryAgainError as error:
                progress = self.part.length() > furthest
                furthest, tries = max(furthest, self.part.length()), 1 if progress else tries + 1
                if tries >= patience.tries:
                    raise AddressError(f"{error}; given up after {tries} tries") from error
                self._pause(tries, error)
        raise AddressError(f"given up after {patience.most_tries} tries")

    def _pause(self, tries: int, error: TryAgainError) -> None:
        patience = self.shared.patience
        if error.delay > patience.longest_wait:
            raise AddressError(f"{error}; asks to wait {error.delay:.0f} s")
        growing = patience.first_wait * 2 ** (tries - 1) * random.uniform(0.5, 1.5)
        delay = max(error.delay, min(growing, patience.longest_wait))
        self._report(f"{error}; trying again in {delay:.0f} s")
        if self.shared.stop.wait(delay):
            raise DataError(f"{self.part.target}: interrupted")

    def _receive_rest(self) -> None:
        """One request; problems of the connection and answers other than the file become errors."""
        size, timeout = self.file.size, self.shared.patience.timeout
        version, start = self.part.version(self.url), self.part.length()
        if not version or (size and start > size):
            start = 0
        if size and start == size:
            return
        try:
            with ask(self.url, start, version, self.shared.credentials, timeout) as response:
                self._store(response, start, version)
        except urllib.error.HTTPError as error:
            with error:
                self._judge_refusal(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise connection_problem(error, timeout) from error

    def _judge_refusal(self, error: urllib.error.HTTPError) -> None:
        """Nothing to do when the answer means that the part is complete."""
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise refusal(error, self.shared.credentials)
        if size_beyond(error.headers) != self.part.length():
            self.part.discard()
            raise TryAgainError(status_words(error.code))

    def _store(self, response: http.client.HTTPResponse, asked: int, version: str) -> None:
        """The bytes of an answer, put to those that are there."""
        self._refuse_web_page(response.headers)
        found = extent(response, asked, version)
        if found is None:
            self.part.discard()
            raise TryAgainError("answers with other bytes than were asked for")
        start, total = found
        if self.file.size and total is not None and total != self.file.size:
            raise AddressError(f"{total} bytes offered, expected {self.file.size}")
        with disk_problems_named(self.part.target):
            if start == 0:
                self.part.begin(self.url, validator(response.headers))
            if total is not None:
                check_space(self.part.target, total - start)
        length = self._append(response, start, total)
        if total is not None and length < total:
            raise TryAgainError(f"connection cut after {length} of {total} bytes")

    def _refuse_web_page(self, headers: Message) -> None:
        file = self.file
        known = file.sha256 or file.md5 or file.name.lower().endswith((".html", ".htm"))
        if not known and headers.get_content_type() == "text/html":
            raise AddressError(
                "the host answers with a web page instead of the file, perhaps to log in or to accept "
                "a licence"
            )

    def _append(self, response: http.client.HTTPResponse, start: int, total: int | None) -> int:
        """Receive until the answer ends; returns how many bytes of the file are there."""
        length, told = start, self._progress(start, total)
        with self.part.appending() as append:
            # not read(): it would wait for a full block, and lose its beginning in a silence
            while block := response.read1(BLOCK):
                if self.shared.stop.is_set():
                    raise DataError(f"{self.part.target}: interrupted")
                length = append(block)
                if self.file.size and length > self.file.size:
                    raise AddressError(f"sends more than the expected {self.file.size} bytes")
                told(length)
        return length

    def _progress(self, start: int, total: int | None) -> Callable[[int], None]:
        """A function that is told the number of bytes and reports it now and then."""
        begin = last = time.monotonic()

        def told(length: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= self.shared.patience.report_every:
                last = now
                speed = shown_size((length - start) / max(now - begin, 1e-9))
                of = f" of {shown_size(total)}" if total else ""
                self._report(f"{shown_size(length)}{of}, {speed} a second")

        return told

    def _report(self, line: str) -> None:
        self.shared.report(f"{self.file.name}: {line}")
