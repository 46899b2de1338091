"""A web server on this machine that does what hosts do: cuts, ranges, silences, redirects, refusals."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY = random.Random(22).randbytes(300_000)
OTHER = random.Random(23).randbytes(300_000)


class Host(ThreadingHTTPServer):
    """Gives the answers of a path in turn, the last again and again, and remembers the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str = "/file") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def says(self, *answers: Answer, path: str = "/file") -> str:
        """Sets the answers of a path; returns its address."""
        self.answers[path] = list(answers)
        return self.url(path)

    def asked(self, header: str, path: str = "/file") -> list[str | None]:
        """The values of a header in the requests for a path, in turn."""
        return [headers.get(header) for p, headers in self.seen if p == path]

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are meant."""


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.seen.append((path, dict(self.headers)))
        answers = self.server.answers.get(path) or [status(404)]
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def head(self, code: int, headers: dict[str, Any]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


Answer = Callable[[Handler], None]


@contextlib.contextmanager
def hosts() -> Iterator[Callable[[], Host]]:
    """A function that starts a host; all of them end together."""
    started: list[Host] = []

    def start() -> Host:
        started.append(Host())
        threading.Thread(target=started[-1].serve_forever, args=(0.01,), daemon=True).start()
        return started[-1]

    try:
        yield start
    finally:
        for host in started:
            host.shutdown()
            host.server_close()


def status(code: int, **headers: Any) -> Answer:
    return lambda handler: handler.head(code, {"Content_Length": 0, **headers})


def redirect(url: str, code: int = 302) -> Answer:
    return status(code, Location=url)


def whole(body: bytes = BODY, **headers: Any) -> Answer:
    """As a host does that knows no ranges."""

    def answer(handler: Handler) -> None:
        handler.head(200, {"Content_Length": len(body), **headers})
        handler.wfile.write(body)

    return answer


def ranged(
    body: bytes = BODY,
    etag: str | None = '"1"',
    sent: int | None = None,
    heeds_if_range: bool = True,
) -> Answer:
    """As a host does that knows ranges; it sends but ``sent`` bytes of what it promises."""

    def answer(handler: Handler) -> None:
        start = asked_start(handler)
        if heeds_if_range and handler.headers.get("If-Range") not in (None, etag):
            start = 0
        if start and start >= len(body):
            return handler.head(416, {"Content_Range": f"bytes */{len(body)}"})
        extent = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        named = {"ETag": etag} if etag else {}
        size = {"Content_Length": len(body) - start}
        handler.head(206 if start else 200, {**size, **extent, **named})
        handler.wfile.write(body[start:][:sent])

    return answer


def asked_start(handler: Handler) -> int:
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    return int(match[1]) if match else 0


def stalled(sent: int, release: threading.Event) -> Answer:
    """Some bytes, the last of them late, then silence."""

    def answer(handler: Handler) -> None:
        ranged(sent=sent - 100)(handler)
        time.sleep(0.02)
        handler.wfile.write(BODY[sent - 100 : sent])
        release.wait(60)

    return answer
