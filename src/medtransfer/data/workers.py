"""Work in child processes that may crash, hang or take too much memory at the cost of one request.

Image decoders are C libraries that read whatever a hospital's archive holds. Each request therefore
runs in a child process under a memory limit and a time limit. A child that dies takes its present
request with it; that request is tried once more, alone, before it is given up.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import re
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from medtransfer.allocation import keep_some_memory

Request = TypeVar("Request")
Result = TypeVar("Result")

# Requests that wait in a child's pipe, so that it never idles while the parent is busy.
WAITING = 4
# A child whose parent is gone ends itself after this time beyond its limit.
GRACE_S = 10.0


@dataclass(frozen=True)
class Limits:
    """What one request may take."""

    seconds: float = 120.0
    memory_bytes: int = 3 * 2**30  # beside what a child holds before its first request


@dataclass(frozen=True)
class Loss:
    """A request that gave no result, and why, in words."""

    reason: str


@dataclass
class _Child(Generic[Request]):
    """A process, and its requests in the order in which it answers them."""

    process: Any
    connection: Connection
    pending: deque[Request] = field(default_factory=deque)
    began: float = 0.0


def supervised_map(
    task: Callable[[Request], Result],
    requests: Iterable[Request],
    processes: int,
    limits: Limits = Limits(),
) -> Iterator[tuple[Request, Result | Loss]]:
    """Apply ``task`` to every request, in child processes, as they get done.

    Args:
        task: a picklable callable; each child has its own copy. Its exceptions end the whole map.
        requests: picklable; consumed as children become free.
        processes: number of children.
        limits: time and memory of one request.

    Yields:
        Each request once, in any order, with its result or its loss.
    """
    supervisor = _Supervisor(task, iter(requests), limits)
    try:
        yield from supervisor.run(max(1, processes))
    finally:
        supervisor.stop()


class _Supervisor(Generic[Request, Result]):
    def __init__(
        self, task: Callable[[Request], Result], requests: Iterator[Request], limits: Limits
    ) -> None:
        self.task, self.requests, self.limits = task, requests, limits
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([task.__class__.__module__])
        self.children: list[_Child[Request]] = []
        self.returned: deque[Request] = deque()  # of dead children, not yet begun
        self.again: deque[Request] = deque()  # crashed once

    def run(self, processes: int) -> Iterator[tuple[Request, Result | Loss]]:
        self.children = [self._start() for _ in range(processes)]
        yield from self._serve(self._next, retry=True)
        # each crashed request alone in a child, so that nothing else is blamed for it
        yield from self._serve(lambda: self.again.popleft() if self.again else None, retry=False)

    def _next(self) -> Request | None:
        return self.returned.popleft() if self.returned else next(self.requests, None)

    def _serve(
        self, next_request: Callable[[], Request | None], retry: bool
    ) -> Iterator[tuple[Request, Result | Loss]]:
        depth = WAITING if retry else 1
        while True:
            for child in self.children:
                self._feed(child, next_request, depth)
            busy = [child for child in self.children if child.pending]
            if not busy:
                return
            ready = set(wait([child.connection for child in busy], self._patience(busy)))
            for child in busy:
                if child.connection in ready:
                    yield from self._collect(child, retry)
                elif time.monotonic() - child.began > self.limits.seconds:
                    yield child.pending.popleft(), Loss(f"took longer than {self.limits.seconds:g} s")
                    self._replace(child)

    def _feed(
        self, child: _Child[Request], next_request: Callable[[], Request | None], depth: int
    ) -> None:
        while len(child.pending) < depth and (request := next_request()) is not None:
            if not child.pending:
                child.began = time.monotonic()
            child.pending.append(request)
            try:
                child.connection.send(request)
            except (BrokenPipeError, ConnectionResetError):
                return  # its death is noticed when its answer is awaited

    def _patience(self, busy: list[_Child[Request]]) -> float:
        deadline = min(child.began for child in busy) + self.limits.seconds
        return max(0.0, deadline - time.monotonic()) + 0.01

    def _collect(self, child: _Child[Request], retry: bool) -> Iterator[tuple[Request, Result | Loss]]:
        """One answer of a child, or the news of its death."""
        try:
            result = child.connection.recv()
        except (EOFError, ConnectionResetError):
            request = child.pending.popleft()
            cause = self._replace(child)
            if retry:
                self.again.append(request)
            else:
                yield request, Loss(f"the decoder crashed ({cause})")
            return
        if isinstance(result, BaseException):
            raise result
        child.began = time.monotonic()
        yield child.pending.popleft(), result

    def _replace(self, child: _Child[Request]) -> str:
        """Start a child in the place of one that is dead or hangs; returns how the old one ended."""
        child.process.join(0.5)
        code = child.process.exitcode
        self._end(child)
        self.returned.extendleft(reversed(child.pending))
        fresh = self._start()
        child.process, child.connection, child.pending = fresh.process, fresh.connection, deque()
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"exit status {code}"

    def _start(self) -> _Child[Request]:
        connection, far_end = self.context.Pipe()
        process = self.context.Process(
            target=_answer, args=(far_end, self.task, self.limits), daemon=True
        )
        process.start()
        far_end.close()
        return _Child(process, connection)

    def _end(self, child: _Child[Request]) -> None:
        child.connection.close()
        child.process.kill()
        child.process.join()

    def stop(self) -> None:
        for child in self.children:
            self._end(child)


def _answer(connection: Connection, task: Callable[[Any], Any], limits: Limits) -> None:
    """What a child does: requests in, results out, until its parent closes the pipe or is gone."""
    _restrict(limits)
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        # ends this process even when a decoder hangs and the parent is no longer there to kill it
        faulthandler.dump_traceback_later(limits.seconds + GRACE_S, exit=True)
        try:
            result: Any = task(request)
        except Exception as error:
            result = error
        faulthandler.cancel_dump_traceback_later()
        try:
            connection.send(result)
        except OSError:
            return


def _restrict(limits: Limits) -> None:
    """Limit memory, leave no memory image behind, and silence what C libraries print of headers."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # private memory only: a mapped pixel store of any size doesn't count
    allowed = _private_bytes() + limits.memory_bytes
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    if highest == resource.RLIM_INFINITY or highest >= allowed:
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, highest))
    keep_some_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _private_bytes() -> int:
    """What counts towards RLIMIT_DATA already: libraries' data and the stacks of a thread per core."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0  # not Linux, where the limit counts nothing either
    return sum(1024 * int(kib) for kib in re.findall(r"VmData:\s+(\d+) kB", status))
