"""The owner's own client brings a data set, and what it says reaches the user."""

from __future__ import annotations

import io
import math
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from medtransfer.config.access import AccessSettings
from medtransfer.errors import DataError

LAST_LINES = 10

Report = Callable[[str], None]


def run_client(access: AccessSettings, folder: Path, report: Report, report_every: float) -> None:
    """Run the owner's client; it can't ask anything, as its input is empty.

    Args:
        access: the command, and the instructions for people who don't have it.
        folder: where it runs.
        report: is given each line that it says, by two threads.
        report_every: seconds between two lines of a progress bar, which is drawn over itself.

    Raises:
        DataError: the client isn't installed, or fails; then its last ``LAST_LINES`` lines are shown.
    """
    command = access.client
    report(f"running {command[0]}")
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise DataError(
            f"'{command[0]}' can't be run ({error.strerror}); install it and see to it that it is "
            f"found. {access.instructions}".strip()
        ) from error
    name = Path(command[0]).name
    last_words = _followed(process, lambda line: report(f"{name}: {line}"), report_every)
    if process.returncode != 0:
        raise DataError(
            f"'{command[0]}' ended with status {process.returncode}:\n" + "\n".join(last_words)
        )


def _followed(process: subprocess.Popen[bytes], report: Report, report_every: float) -> Sequence[str]:
    """Report what a process says until it ends: the last lines of its stderr, else of its stdout."""
    assert process.stdout is not None and process.stderr is not None
    with process, ThreadPoolExecutor(2) as pool:
        out = pool.submit(_pump, process.stdout, report, report_every)
        err = pool.submit(_pump, process.stderr, report, report_every)
        try:
            process.wait()
        except BaseException:
            process.kill()
            raise
        return err.result() or out.result()


def _pump(stream: IO[bytes], report: Report, report_every: float) -> Sequence[str]:
    """Report the lines of a stream; of a progress bar only a line now and then."""
    tail: deque[str] = deque(maxlen=LAST_LINES)
    last = -math.inf
    with io.TextIOWrapper(stream, "utf-8", "replace", newline="") as lines:
        for line in lines:
            overdrawn = line.endswith("\r") and time.monotonic() - last < report_every
            if line.strip() and not overdrawn:
                last = time.monotonic()
                report(line.strip())
                tail.append(line.strip())
    return tail
