"""Downloads against a host on this machine that does what hosts do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from medtransfer.config.access import AccessSettings, RemoteFileSettings
from medtransfer.data import fetch as fetch_module
from medtransfer.data.fetch import ALREADY_THERE, Patience, fetch
from medtransfer.errors import ConfigError, DataError

SCRIPT = Path(__file__).resolve().parents[2] / "workflow" / "scripts" / "fetch.py"
BODY = random.Random(22).randbytes(300_000)
OTHER = random.Random(23).randbytes(300_000)
TOKEN = "hidden-token-22"
# waits are only long enough to be seen by the tests that are about them
QUICK = Patience(timeout=5, tries=3, most_tries=40, first_wait=0.001, longest_wait=5)


# --- a host with scripted answers -------------------------------------------------------------------


class Host(ThreadingHTTPServer):
    """Gives the answers of a path in turn, the last again and again, and remembers the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {}
        self.seen = []

    def url(self, path="/file"):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def says(self, *answers, path="/file"):
        self.answers[path] = list(answers)
        return self.url(path)

    def asked(self, header, path="/file"):
        """The values of a header in the requests for a path, in turn."""
        return [headers.get(header) for p, headers in self.seen if p == path]

    def handle_error(self, *_):
        """Clients that hang up are meant."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.seen.append((path, dict(self.headers)))
        answers = self.server.answers.get(path) or [status(404)]
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def head(self, code, headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


def status(code, **headers):
    return lambda handler: handler.head(code, {"Content_Length": 0, **headers})


def whole(body=BODY, **headers):
    """As a host does that knows no ranges."""

    def answer(handler):
        handler.head(200, {"Content_Length": len(body), **headers})
        handler.wfile.write(body)

    return answer


def ranged(body=BODY, etag='"1"', sent=None, heeds_if_range=True):
    """As a host does that knows ranges; it sends but ``sent`` bytes of what it promises."""

    def answer(handler):
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


def asked_start(handler):
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    return int(match[1]) if match else 0


def stalled(sent, release):
    """Some bytes, the last of them late, then silence."""

    def answer(handler):
        ranged(sent=sent - 100)(handler)
        time.sleep(0.02)
        handler.wfile.write(BODY[sent - 100 : sent])
        release.wait(60)

    return answer


@pytest.fixture
def make_host(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    hosts = []

    def make():
        hosts.append(Host())
        threading.Thread(target=hosts[-1].serve_forever, args=(0.01,), daemon=True).start()
        return hosts[-1]

    yield make
    for host in hosts:
        host.shutdown()
        host.server_close()


@pytest.fixture
def host(make_host):
    return make_host()


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


# --- short forms ------------------------------------------------------------------------------------


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def one(*urls, name="file.bin", **settings):
    return RemoteFileSettings(name=name, urls=urls, **settings)


def access(*files, **settings):
    return AccessSettings(files=files, **settings)


def bring(settings, folder, patience=QUICK, **arguments):
    """The record, and all that was reported."""
    lines = []
    record = fetch(settings, folder, report=lines.append, patience=patience, **arguments)
    return record, lines


def refused(settings, folder, match=None, patience=QUICK, **arguments):
    """The error of a fetch that fails, and all that was reported, as one text."""
    lines = []
    with pytest.raises(DataError, match=match) as caught:
        fetch(settings, folder, report=lines.append, patience=patience, **arguments)
    return "\n".join([str(caught.value), *lines])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


# --- plain downloads --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [whole(), ranged(), ranged(etag=None)])
def test_a_file_is_fetched_byte_for_byte_and_recorded(tmp_path, host, answer):
    url = host.says(answer)
    record, lines = bring(access(one(url, name="parts/file.bin")), tmp_path / "new")
    assert (tmp_path / "new/parts/file.bin").read_bytes() == BODY
    assert record == {
        "files": [{"name": "parts/file.bin", "size": 300_000, "sha256": sha256(BODY), "source": url}],
        "expected": [],
    }
    assert json.loads(json.dumps(record)) == record
    assert names(tmp_path / "new/parts") == ["file.bin"]
    assert len(host.seen) == 1
    assert lines == ["1 file, of unknown size"]


def test_an_empty_file_is_a_file(tmp_path, host):
    bring(access(one(host.says(whole(b"")))), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b""


def test_a_file_in_chunks_without_a_length_is_fetched(tmp_path, host):
    def chunks(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.head(200, {"Transfer_Encoding": "chunked", "Connection": "close"})
        for start in range(0, len(BODY), 100_000):
            handler.wfile.write(b"186a0\r\n" + BODY[start : start + 100_000] + b"\r\n")
            if start == 100_000 and len(host.seen) == 1:
                return  # cut in the middle
        handler.wfile.write(b"0\r\n\r\n")

    _, lines = bring(access(one(host.says(chunks))), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert len(host.seen) == 2 and "connection cut" in lines[1]


def test_both_checksums_and_the_size_are_checked(tmp_path, host):
    md5 = hashlib.md5(BODY).hexdigest()
    url = host.says(whole())
    for good in ({"sha256": sha256(BODY)}, {"md5": md5}, {"size": 300_000}):
        folder = tmp_path / next(iter(good))
        bring(access(one(url, **good)), folder)
        assert (folder / "file.bin").read_bytes() == BODY
    for wrong in ({"sha256": sha256(OTHER)}, {"md5": md5[::-1]}, {"size": 300_001}):
        text = refused(access(one(url, **wrong)), tmp_path / "wrong", "expected")
        assert str(next(iter(wrong.values()))) in text
        assert names(tmp_path / "wrong") == []


def test_sizes_are_shown_before_the_first_request(tmp_path, host):
    urls = [host.says(whole(), path=f"/{i}") for i in range(3)]
    files = [one(url, name=f"{i}", size=300_000) for i, url in enumerate(urls)]
    seen = []
    fetch(access(*files), tmp_path, report=lambda line: seen.append((line, len(host.seen))))
    assert seen == [("3 files, 900.0 kB", 0)]
    _, lines = bring(access(*files, one(urls[0], name="n"), one(urls[1], name="m")), tmp_path)
    assert lines == ["2 files, of unknown size"]


def test_a_total_with_unknown_sizes_is_a_least_one(tmp_path, host):
    url = host.says(whole())
    _, lines = bring(access(one(url, name="a", size=300_000), one(url, name="b")), tmp_path)
    assert lines == ["2 files, at least 300.0 kB"]


def test_progress_is_reported_now_and_then(tmp_path, host):
    talkative = replace(QUICK, report_every=0.0)
    _, lines = bring(access(one(host.says(whole()))), tmp_path, talkative)
    assert re.fullmatch(r"file\.bin: 300\.0 kB of 300\.0 kB, .*B a second", lines[-1])


def test_connections_are_limited_and_used(tmp_path, host):
    lock, now, most = threading.Lock(), [0], [0]

    def counted(handler):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        whole()(handler)

    url = host.says(counted)
    files = [one(url, name=f"{i}") for i in range(7)]
    bring(access(*files), tmp_path, connections=3)
    assert most == [3]
    assert all((tmp_path / f"{i}").read_bytes() == BODY for i in range(7))


def test_lines_are_reported_one_at_a_time(tmp_path, host):
    now, overlaps = [], []

    def report(line):
        overlaps.extend(now)
        now.append(line)
        time.sleep(0.02)
        now.remove(line)

    url = host.says(status(404))
    with pytest.raises(DataError):
        fetch(access(*(one(url, name=f"{i}") for i in range(6))), tmp_path, 6, report)
    assert len(host.seen) == 6 and overlaps == []


def test_less_than_one_connection_is_refused(tmp_path, host):
    with pytest.raises(ConfigError, match="connections is 0; allowed: at least 1"):
        fetch(access(one(host.says(whole()))), tmp_path, connections=0)


def test_a_failure_does_not_stop_the_others_and_all_failures_are_listed(tmp_path, host):
    good, bad = host.says(whole()), host.says(status(404), path="/none")
    files = [one(bad, name="bad1"), one(good, name="good"), one(bad, name="bad2")]
    text = refused(access(*files), tmp_path, connections=1)
    assert f"{tmp_path}/bad1: not fetched: {bad}: answers 404 Not Found\n{tmp_path}/bad2" in text
    assert (tmp_path / "good").read_bytes() == BODY


# --- resuming ---------------------------------------------------------------------------------------


def test_a_cut_connection_is_continued_several_times(tmp_path, host):
    """More often than the tries without progress: each new byte resets them."""
    url = host.says(ranged(sent=50_000))
    bring(access(one(url, sha256=sha256(BODY))), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    starts = [None] + [f"bytes={start}-" for start in range(50_000, 300_000, 50_000)]
    assert host.asked("Range") == starts
    assert host.asked("If-Range") == [None] + ['"1"'] * 5


def test_a_later_run_asks_for_the_missing_bytes_only(tmp_path, host):
    url = host.says(ranged(sent=120_000), ranged(sent=0))
    refused(access(one(url)), tmp_path, "connection cut after 120000 of 300000 bytes")
    assert names(tmp_path) == [".file.bin.part", ".file.bin.part.json"]
    host.seen.clear()
    host.says(ranged())
    _, lines = bring(access(one(url, size=300_000)), tmp_path)
    assert lines == ["1 file, 180.0 kB"]
    assert host.asked("Range") == ["bytes=120000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert names(tmp_path) == ["file.bin"]


def test_a_date_serves_as_well_as_an_etag(tmp_path, host):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"

    def cut(handler):
        handler.head(200, {"Content_Length": len(BODY), "Last_Modified": date, "ETag": 'W/"1"'})
        handler.wfile.write(BODY[:1000])

    bring(access(one(host.says(cut, ranged(etag=date)))), tmp_path)
    assert host.asked("If-Range") == [None, date]
    assert host.asked("Range") == [None, "bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_it_starts_over(tmp_path, host, etag):
    url = host.says(ranged(etag=etag, sent=1000), ranged(etag=etag))
    bring(access(one(url)), tmp_path)
    assert host.asked("Range") == [None, None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_host_that_ignores_ranges_is_read_from_the_start(tmp_path, host):
    bring(access(one(host.says(ranged(sent=1000), whole()))), tmp_path)
    assert host.asked("Range") == [None, "bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_not_patched_together(tmp_path, host, heeds_if_range):
    url = host.says(ranged(sent=1000), ranged(OTHER, '"2"', heeds_if_range=heeds_if_range))
    bring(access(one(url)), tmp_path)
    assert host.asked("Range")[1] == "bytes=1000-"
    assert (tmp_path / "file.bin").read_bytes() == OTHER


@pytest.mark.parametrize("extent", ["bytes 0-299999/300000", "bytes 999-299999/300000", "nonsense"])
def test_a_range_that_begins_elsewhere_is_not_used(tmp_path, host, extent):
    def shifted(handler):
        handler.head(206, {"Content_Length": len(BODY), "Content_Range": extent, "ETag": '"1"'})
        handler.wfile.write(BODY)

    bring(access(one(host.says(ranged(sent=1000), shifted, ranged()))), tmp_path)
    assert host.asked("Range") == [None, "bytes=1000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_that_the_host_calls_complete_is_taken(tmp_path, host):
    """The first answer promised more bytes than there are."""
    url = host.says(ranged(BODY + b"promised", sent=len(BODY)), ranged())
    bring(access(one(url)), tmp_path)
    assert host.asked("Range") == [None, "bytes=300000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_beyond_the_end_of_the_file_starts_over(tmp_path, host):
    url = host.says(ranged(sent=200_000), ranged(BODY[:100_000]))
    bring(access(one(url)), tmp_path)
    assert host.asked("Range") == [None, "bytes=200000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY[:100_000]


def test_a_complete_part_needs_no_request(tmp_path, host):
    """As when a run was killed before it could rename the file."""
    url = host.says(ranged(BODY + b"promised", sent=len(BODY)), ranged(BODY + b"promised", sent=0))
    refused(access(one(url)), tmp_path)
    host.seen.clear()
    bring(access(one(url, size=300_000)), tmp_path)
    assert host.seen == []
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_should_be_is_not_continued(tmp_path, host):
    url = host.says(ranged(sent=200_000), ranged(sent=0))
    refused(access(one(url)), tmp_path)
    host.seen.clear()
    host.says(ranged(BODY[:100_000]))
    bring(access(one(url, size=100_000)), tmp_path)
    assert host.asked("Range") == [None]
    assert (tmp_path / "file.bin").read_bytes() == BODY[:100_000]


def test_a_part_is_not_continued_at_another_address(tmp_path, host):
    """A mirror's bytes may be of another version though its ETag is the same."""
    first, second = host.says(ranged(sent=1000), status(404)), host.says(ranged(OTHER), path="/mirror")
    bring(access(one(first, second)), tmp_path)
    assert host.asked("Range", "/mirror") == [None]
    assert (tmp_path / "file.bin").read_bytes() == OTHER


def test_a_wrong_part_of_an_earlier_run_is_fetched_anew(tmp_path, host):
    url = host.says(ranged(OTHER, sent=1000), ranged(sent=0))
    refused(access(one(url)), tmp_path)
    host.seen.clear()
    host.says(ranged())  # another content under the same ETag
    bring(access(one(url, sha256=sha256(BODY))), tmp_path)
    assert host.asked("Range") == ["bytes=1000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("notes", ["", "{", "[]", "{}", '{"address": 1}'])
def test_a_part_with_unreadable_notes_starts_over(tmp_path, host, notes):
    (tmp_path / ".file.bin.part").write_bytes(OTHER[:1000])
    (tmp_path / ".file.bin.part.json").write_text(notes)
    bring(access(one(host.says(ranged()))), tmp_path)
    assert host.asked("Range") == [None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_killed_run_is_continued_from_its_last_byte(tmp_path, host, release):
    url = host.says(stalled(100_000, release), ranged())
    code = (
        "import sys; from pathlib import Path; from medtransfer.data.fetch import fetch; "
        "from medtransfer.config.access import AccessSettings, RemoteFileSettings as File; "
        "fetch(AccessSettings(files=(File(name='file.bin', urls=(sys.argv[1],)),)), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)])
    part, deadline = tmp_path / ".file.bin.part", time.monotonic() + 10
    while not (part.exists() and part.stat().st_size == 100_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "file.bin").exists()
    bring(access(one(url, sha256=sha256(BODY))), tmp_path)
    assert host.asked("Range") == [None, "bytes=100000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


# --- tries, waits and mirrors -----------------------------------------------------------------------


def test_without_progress_the_tries_are_counted(tmp_path, host):
    text = refused(access(one(host.says(ranged(sent=0)))), tmp_path, "given up after 3 tries")
    assert len(host.seen) == 3
    assert text.count("trying again") == 2


def test_with_progress_too_there_is_an_end(tmp_path, host):
    few = replace(QUICK, most_tries=5)
    refused(access(one(host.says(ranged(sent=10)))), tmp_path, "given up after 5 tries", few)
    assert len(host.seen) == 5


def test_waits_grow(monkeypatch):
    waits = []
    monkeypatch.setattr(threading.Event, "wait", lambda _, timeout=None: waits.append(timeout))
    patience = replace(QUICK, tries=6, first_wait=100.0, longest_wait=500.0)
    session = SimpleNamespace(patience=patience, report=print, stop=threading.Event())
    for tries in range(1, 6):
        error = fetch_module._AgainError("no", 0.0)
        fetch_module._pause(session, one("http://x"), tries, error)
    for wait, middle in zip(waits, (100, 200, 400), strict=False):
        assert middle / 2 <= wait <= min(500, middle * 1.5)
    assert waits[4] == 500 and len(set(waits[:3])) == 3


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_busy_host_is_asked_again_after_the_time_that_it_asks_for(tmp_path, host, code):
    url = host.says(status(code, Retry_After=1), whole())
    begin = time.monotonic()
    _, lines = bring(access(one(url)), tmp_path)
    assert 1.0 <= time.monotonic() - begin < 2.5
    assert len(host.seen) == 2
    assert f"answers {code}" in lines[1] and "trying again in 1 s" in lines[1]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("as_date", [False, True])
def test_a_host_that_asks_for_too_long_a_wait_is_left_for_a_mirror(tmp_path, host, as_date):
    moment = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    first = host.says(status(503, Retry_After=moment if as_date else 3600))
    record, lines = bring(access(one(first, host.says(whole(), path="/mirror"))), tmp_path)
    assert record["files"][0]["source"].endswith("/mirror")
    assert [path for path, _ in host.seen] == ["/file", "/mirror"]
    assert re.search(r"asks to wait 3(600|59\d) s", lines[1])


def test_a_nonsensical_wait_is_no_wait(tmp_path, host):
    bring(access(one(host.says(status(503, Retry_After="soon"), whole()))), tmp_path)
    assert len(host.seen) == 2


@pytest.mark.parametrize("code", [400, 404, 410, 451])
def test_a_file_that_is_not_there_is_not_asked_for_again_but_at_a_mirror(tmp_path, host, code):
    first = host.says(status(code))
    record, _ = bring(access(one(first, host.says(whole(), path="/mirror"))), tmp_path)
    assert [path for path, _ in host.seen] == ["/file", "/mirror"]
    assert record["files"][0]["source"] == host.url("/mirror")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_every_address_that_failed_is_named(tmp_path, host):
    first, second = host.says(status(404)), host.says(status(410), path="/mirror")
    refused(
        access(one(first, second)),
        tmp_path,
        f"file.bin: not fetched: {first}: answers 404 Not Found; {second}: answers 410 Gone",
    )
    assert names(tmp_path) == []


def test_a_wrong_file_is_discarded_and_the_mirror_asked(tmp_path, host):
    first = host.says(whole(OTHER))
    mirror = host.says(whole(), path="/mirror")
    record, lines = bring(access(one(first, mirror, sha256=sha256(BODY))), tmp_path)
    assert record["files"][0]["source"] == mirror
    assert [path for path, _ in host.seen] == ["/file", "/mirror"]
    assert f"sha256 {sha256(OTHER)} found, expected {sha256(BODY)}" in lines[1]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_file_that_is_wrong_everywhere_is_an_error_with_both_checksums(tmp_path, host):
    first, mirror = host.says(whole(OTHER)), host.says(whole(OTHER), path="/mirror")
    text = refused(access(one(first, mirror, sha256=sha256(BODY))), tmp_path)
    for url in (first, mirror):
        assert f"{url}: sha256 {sha256(OTHER)} found, expected {sha256(BODY)}" in text
    assert f"{tmp_path}/file.bin: not fetched" in text
    assert names(tmp_path) == []
    assert len(host.seen) == 2


def test_a_wrong_size_is_refused_before_it_is_received(tmp_path, host):
    refused(
        access(one(host.says(ranged()), size=1000)), tmp_path, "300000 bytes offered, expected 1000"
    )
    assert names(tmp_path) == []


def test_a_host_that_sends_without_end_is_cut_off(tmp_path, host):
    def endless(handler):
        handler.head(200, {})
        for _ in range(1000):
            handler.wfile.write(BODY)

    refused(access(one(host.says(endless), size=1000)), tmp_path, "more than the expected 1000 bytes")


def test_a_host_that_goes_silent_is_asked_for_the_rest(tmp_path, host, release):
    """What came before the silence is kept, though it is no full block."""
    url = host.says(stalled(1000, release), ranged())
    _, lines = bring(access(one(url)), tmp_path, replace(QUICK, timeout=0.2))
    assert "no answer for 0.2 s" in lines[1]
    assert host.asked("Range") == [None, "bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_host_that_never_answers_is_given_up(tmp_path, host, release):
    url = host.says(lambda _: release.wait(10))
    refused(access(one(url)), tmp_path, "no answer for 0.1 s; given up", replace(QUICK, timeout=0.1))
    assert len(host.seen) == 3


def test_a_host_that_is_not_there_is_named_with_the_reason(tmp_path, make_host):
    gone = make_host()
    gone.server_close()
    refused(access(one(gone.url())), tmp_path, f"{gone.url()}: Connection refused; given up after 3")


@pytest.mark.parametrize("url", ["http://[bad/x?key=22hidden", "http://127.0.0.1:port/?key=22hidden"])
def test_an_address_that_is_none_is_an_error_without_its_query(tmp_path, url):
    assert "22hidden" not in refused(access(one(url)), tmp_path, "not a usable address")


def test_an_interrupt_stops_the_workers(tmp_path, host):
    """They would wait for the host's timeout otherwise, or go on for hours."""
    url = host.says(status(503, Retry_After=4))

    def report(line):
        if "trying again" in line:
            os.kill(os.getpid(), signal.SIGINT)

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(access(one(url)), tmp_path, report=report, patience=QUICK)
    assert time.monotonic() - begin < 3


# --- redirects, tokens and log-in pages -------------------------------------------------------------


def redirect(url, code=302):
    return status(code, Location=url)


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("SET_TOKEN", TOKEN)
    return {"token": "SET_TOKEN", "instructions": "Ask the owner for access."}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_range(tmp_path, host, code):
    host.says(ranged(sent=1000), ranged(), path="/real")
    url = host.says(redirect("/real", code))
    record, _ = bring(access(one(url)), tmp_path)
    assert host.asked("Range", "/real") == [None, "bytes=1000-"]
    assert record["files"][0]["source"] == url
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_the_token_goes_to_the_host_and_stays_there(tmp_path, host, make_host, token):
    other = make_host()
    other.says(redirect(host.url("/back")))
    host.says(whole(), path="/back")
    host.says(redirect(other.url()), path="/near")
    record, lines = bring(access(one(host.says(redirect("/near"))), **token), tmp_path)
    assert host.asked("Authorization") == [f"Bearer {TOKEN}"]
    assert host.asked("Authorization", "/near") == [f"Bearer {TOKEN}"]
    assert other.asked("Authorization") == [None]
    assert host.asked("Authorization", "/back") == [None]
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert TOKEN not in json.dumps(record) + "".join(lines)


def test_the_token_is_not_sent_without_encryption_but_to_this_machine(
    tmp_path, host, token, monkeypatch
):
    monkeypatch.setattr(fetch_module, "LOCAL_HOSTS", ())
    url = host.says(status(401))
    refused(access(one(url), **token), tmp_path, "the token in SET_TOKEN is only sent by https")
    assert host.asked("Authorization") == [None]


@pytest.mark.parametrize("target", ["/file", "ftp://127.0.0.1/x", "file:///etc/hostname"])
def test_redirects_without_end_or_elsewhere_are_refused(tmp_path, host, target):
    refused(access(one(host.says(redirect(target)))), tmp_path, "redirects without end, or to no web")
    assert len(host.seen) < 15
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_named_by_its_variable_only(tmp_path, host, token, code):
    text = refused(
        access(one(host.says(status(code))), **token),
        tmp_path,
        f"answers {code} .*the token in SET_TOKEN may be expired or lack rights",
    )
    assert TOKEN not in text
    assert len(host.seen) == 1


def test_without_a_token_a_refusal_comes_with_the_instructions(tmp_path, host):
    settings = access(one(host.says(status(403))), instructions="Ask the owner for access.")
    refused(settings, tmp_path, "answers 403 Forbidden: not for everybody. Ask the owner for access.")


def test_a_missing_token_is_named_before_any_request(tmp_path, host, monkeypatch, token):
    for value in (None, "", " \n"):
        monkeypatch.delenv("SET_TOKEN", raising=False)
        if value is not None:
            monkeypatch.setenv("SET_TOKEN", value)
        refused(access(one(host.says(whole())), **token), tmp_path, "SET_TOKEN is not set.*Ask the")
    assert host.seen == []


@pytest.mark.parametrize("value", ["22hidden\nX: y", "22hidden token", "22hiddén"])
def test_a_token_that_no_header_may_hold_is_not_shown(tmp_path, host, monkeypatch, token, value):
    monkeypatch.setenv("SET_TOKEN", value)
    assert "22hidd" not in refused(access(one(host.says(whole())), **token), tmp_path, "SET_TOKEN")


def test_no_token_is_needed_for_files_that_are_there(tmp_path, host, token, monkeypatch):
    monkeypatch.delenv("SET_TOKEN")
    (tmp_path / "file.bin").write_bytes(BODY)
    bring(access(one(host.says(whole())), **token), tmp_path)
    assert host.seen == []


def test_queries_are_sent_but_never_shown(tmp_path, host):
    good, bad = host.says(whole(), path="/good"), host.says(status(404))
    settings = access(one(bad + "?key=22hidden", good + "?key=22hidden"))
    record, lines = bring(settings, tmp_path / "a")
    assert record["files"][0]["source"] == good
    text = refused(access(one(bad + "?key=22hidden#part")), tmp_path / "b", re.escape(bad))
    assert "22hidden" not in json.dumps(record) + "".join(lines) + text
    host.says(ranged(sent=1000), ranged(sent=0))
    refused(access(one(bad + "?key=22hidden")), tmp_path / "c")
    left = [path.read_bytes() for path in (tmp_path / "c").iterdir()]
    assert len(left) == 2 and all(b"22hidden" not in content for content in left)


def test_a_web_page_instead_of_a_file_is_refused(tmp_path, host):
    page = whole(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
    mirror = host.says(whole(), path="/mirror")
    refused(access(one(host.says(page))), tmp_path, "answers with a web page instead of the file")
    assert names(tmp_path) == []
    bring(access(one(host.url(), mirror)), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    bring(access(one(host.url(), name="page.html")), tmp_path)
    assert (tmp_path / "page.html").read_bytes() == b"<html>Please log in</html>"


def test_a_checksum_tells_better_than_the_kind_that_a_host_names(tmp_path, host):
    url = host.says(whole(Content_Type="text/html"))
    bring(access(one(url, sha256=sha256(BODY))), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY


# --- the disk ---------------------------------------------------------------------------------------


def has_free(monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def test_what_does_not_fit_is_refused_before_the_first_request(tmp_path, host, monkeypatch):
    url = host.says(ranged())
    settings = access(one(url, name="a", size=300_000), one(url, name="b", size=300_000))
    has_free(monkeypatch, 599_999)
    refused(settings, tmp_path, r"600\.0 kB needed, 600\.0 kB free")
    assert host.seen == []
    has_free(monkeypatch, 600_000)
    bring(settings, tmp_path)


def test_a_size_that_only_the_host_knows_counts_too(tmp_path, host, monkeypatch):
    has_free(monkeypatch, 299_999)
    settings = access(one(host.says(ranged())))
    refused(settings, tmp_path, r"file\.bin: 300\.0 kB needed, 300\.0 kB free")
    has_free(monkeypatch, 300_000)
    bring(settings, tmp_path)


def test_what_is_there_already_needs_no_room(tmp_path, host, monkeypatch):
    url = host.says(ranged(sent=200_000), ranged(sent=0))
    refused(access(one(url)), tmp_path)
    host.says(ranged())
    has_free(monkeypatch, 100_000)
    bring(access(one(url, size=300_000)), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_disk_that_fills_up_is_named_and_the_part_kept(tmp_path, host, monkeypatch):
    write = fetch_module._write

    def limited(stream, block):
        write(stream, block[: max(0, 70_000 - stream.tell())])
        if stream.tell() == 70_000:
            raise OSError(28, "No space left on device")

    url = host.says(ranged())
    monkeypatch.setattr(fetch_module, "_write", limited)
    refused(access(one(url)), tmp_path, r"file\.bin: the disk is full")
    assert len(host.seen) == 1
    monkeypatch.setattr(fetch_module, "_write", write)
    bring(access(one(url)), tmp_path)
    assert host.asked("Range") == [None, "bytes=70000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path, host):
    (tmp_path / "file.bin").mkdir()
    refused(access(one(host.says(whole()))), tmp_path, r"file\.bin: Is a directory")


# --- what is there already --------------------------------------------------------------------------


@pytest.mark.parametrize("known", [{}, {"sha256": sha256(BODY)}, {"size": 300_000}])
def test_a_file_that_is_there_and_right_is_kept_and_recorded(tmp_path, host, known):
    (tmp_path / "file.bin").write_bytes(BODY)
    record, lines = bring(access(one(host.says(whole(OTHER)), **known)), tmp_path)
    assert host.seen == [] and lines == []
    assert record["files"] == [
        {"name": "file.bin", "size": 300_000, "sha256": sha256(BODY), "source": ALREADY_THERE}
    ]


@pytest.mark.parametrize("known", [{"sha256": sha256(BODY)}, {"md5": "0" * 32}, {"size": 1}])
def test_a_file_that_is_there_and_wrong_is_never_overwritten(tmp_path, host, known):
    (tmp_path / "file.bin").write_bytes(OTHER)
    text = refused(access(one(host.says(whole()), **known)), tmp_path, "delete it to fetch it again")
    assert f"{tmp_path}/file.bin: " in text and f"expected {next(iter(known.values()))}" in text
    assert (tmp_path / "file.bin").read_bytes() == OTHER
    assert host.seen == []


# --- archives, the owner's client and what is expected ----------------------------------------------


def test_an_archive_is_unpacked_beside_itself_once(tmp_path, host, monkeypatch):
    packed = zipped({"images/a.png": BODY})
    calls = []
    unpack = fetch_module.unpack
    monkeypatch.setattr(fetch_module, "unpack", lambda *a: calls.append(a) or unpack(*a))
    file = one(host.says(whole(packed)), name="sub/set.zip", unpack=True)
    settings = access(file, expected=("sub/images/a.png",))
    for _ in range(2):
        bring(settings, tmp_path)
        assert len(calls) == 1 and len(host.seen) == 1
    image = tmp_path / "sub/images/a.png"
    assert image.read_bytes() == BODY
    assert (tmp_path / "sub/set.zip").read_bytes() == packed
    image.unlink()
    bring(settings, tmp_path)
    assert len(calls) == 2 and len(host.seen) == 1 and image.read_bytes() == BODY


def test_archives_with_the_same_folders_are_unpacked_one_at_a_time(tmp_path, host, monkeypatch):
    """Two of them would both move the folder into place."""
    unpack, now, most = fetch_module.unpack, [], []

    def slow(*arguments):
        now.append(arguments)
        most.append(len(now))
        time.sleep(0.02)
        found = unpack(*arguments)
        now.remove(arguments)
        return found

    monkeypatch.setattr(fetch_module, "unpack", slow)
    bodies = {f"{i}.zip": zipped({f"images/{i}.png": bytes([i])}) for i in range(4)}
    files = [
        one(host.says(whole(packed), path=f"/{name}"), name=name, unpack=True)
        for name, packed in bodies.items()
    ]
    bring(access(*files), tmp_path, connections=4)
    assert most == [1] * 4
    for i in range(4):
        assert (tmp_path / f"images/{i}.png").read_bytes() == bytes([i])


def test_another_archive_of_the_same_name_is_unpacked_again(tmp_path, host):
    file = one(host.says(whole(zipped({"a": b"1"}))), name="set.zip", unpack=True)
    bring(access(file), tmp_path)
    (tmp_path / "set.zip").write_bytes(zipped({"a": b"2"}))
    bring(access(file), tmp_path)
    assert (tmp_path / "a").read_bytes() == b"2"


def test_a_wrong_archive_is_not_unpacked(tmp_path, host):
    packed = zipped({"a.png": BODY})
    file = one(host.says(whole(packed)), name="set.zip", unpack=True, sha256=sha256(BODY))
    refused(access(file), tmp_path, "expected")
    assert names(tmp_path) == []


def test_a_damaged_archive_is_an_error_of_its_file(tmp_path, host):
    file = one(host.says(whole(b"not an archive")), name="set.zip", unpack=True)
    refused(access(file), tmp_path, r"set\.zip: damaged")


def test_what_is_missing_comes_with_instructions_and_the_folder(tmp_path):
    settings = AccessSettings(
        expected=("train.csv", "images", "test.csv"), instructions="Sign the form at the owner's."
    )
    (tmp_path / "train.csv").write_text("x")
    text = refused(settings, tmp_path, f"{tmp_path}: missing: images, test.csv")
    assert "Sign the form at the owner's." in text and f"into {tmp_path}" in text
    (tmp_path / "images").mkdir()
    (tmp_path / "test.csv").write_text("x")
    assert bring(settings, tmp_path)[0] == {
        "files": [],
        "expected": ["train.csv", "images", "test.csv"],
    }


def test_an_archive_placed_by_hand_is_unpacked_when_it_holds_what_is_missing(tmp_path):
    (tmp_path / "images.zip").write_bytes(zipped({"images/a.png": BODY}))
    (tmp_path / "other.zip").write_bytes(zipped({"more.csv": b"x", "images2/b": b"x"}))
    bring(AccessSettings(expected=("images",)), tmp_path)
    assert names(tmp_path) == ["images", "images.zip", "other.zip"]
    assert (tmp_path / "images/a.png").read_bytes() == BODY


def test_a_damaged_archive_is_named_where_something_is_missing(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"half")
    refused(AccessSettings(expected=("images",)), tmp_path, r"missing: images\n.*images\.zip: damaged")
    (tmp_path / "images").mkdir()
    bring(AccessSettings(expected=("images",)), tmp_path)


def client(code, *expected, **settings):
    command = (sys.executable, "-c", code)
    return AccessSettings(client=command, expected=expected, **settings)


def test_the_client_runs_in_the_folder_only_while_something_is_missing(tmp_path):
    code = "import sys; open('train.csv', 'a').write('x'); print('one'); print('two', file=sys.stderr)"
    for runs in (1, 0):
        _, lines = bring(client(code, "train.csv"), tmp_path)
        assert (tmp_path / "train.csv").read_text() == "x"
        said = [line.partition(": ")[2] for line in lines if ": " in line]
        assert sorted(said) == ["one", "two"] * runs


def test_archives_that_the_client_leaves_are_unpacked(tmp_path):
    packed = zipped({"train/a.png": BODY, "train.csv": b"x"})
    code = f"open('set.zip', 'wb').write({packed[:100]!r} + open('rest', 'rb').read())"
    (tmp_path / "rest").write_bytes(packed[100:])
    bring(client(code, "train", "train.csv"), tmp_path)
    assert (tmp_path / "train/a.png").read_bytes() == BODY
    assert (tmp_path / "set.zip").read_bytes() == packed


def test_an_archive_from_an_earlier_run_saves_the_client(tmp_path):
    (tmp_path / "set.zip").write_bytes(zipped({"train.csv": b"x"}))
    bring(client("raise SystemExit('ran')", "train.csv"), tmp_path)
    assert (tmp_path / "train.csv").read_bytes() == b"x"


def test_a_client_that_fails_is_quoted(tmp_path):
    code = (
        "import sys; print('out'); [print(f'line{i}', file=sys.stderr) for i in range(30)]; "
        "sys.exit('403 - Forbidden')"
    )
    text = refused(client(code, "train.csv"), tmp_path, "ended with status 1")
    error = text.partition("python")[0] + text.split("ended with status 1:\n")[1].split("running")[0]
    assert "403 - Forbidden" in error and "line29" in error and "line5\n" not in error


def test_a_client_that_fails_on_its_output_is_quoted_too(tmp_path):
    code = "print('401 - Unauthorized'); raise SystemExit(3)"
    refused(client(code, "x"), tmp_path, "ended with status 3:\n401 - Unauthorized")


def test_a_client_that_is_not_installed_is_named_with_the_instructions(tmp_path):
    settings = AccessSettings(
        client=("no-such-client", "download"), expected=("x",), instructions="Get an account."
    )
    refused(settings, tmp_path, "'no-such-client' can't be run.*install it.*Get an account.")


def test_a_client_that_leaves_something_out_is_no_success(tmp_path):
    refused(client("open('a', 'w')", "a", "b"), tmp_path, "missing: b")


def test_a_progress_bar_is_not_reported_at_every_step(tmp_path):
    code = (
        "import sys; [sys.stderr.write(f'{i}%\\r') for i in range(1000)]; sys.stderr.write('100%\\n')"
    )
    text = refused(client(code, "x"), tmp_path)
    assert 2 <= text.count("%") <= 5 and ": 100%" in text


def test_the_client_cannot_wait_for_an_answer(tmp_path):
    keyboard, typed = os.pipe()
    before = os.dup(0)
    os.dup2(keyboard, 0)
    try:
        os.write(typed, b"yes\n")
        refused(client("input()", "x"), tmp_path, "EOFError")
    finally:
        os.dup2(before, 0)
        for end in (keyboard, typed, before):
            os.close(end)


# --- the script -------------------------------------------------------------------------------------


def run_script(host_url, folder, output):
    settings = {"files": [{"name": "file.bin", "urls": [host_url], "size": 300_000}]}
    arguments = ["--access", json.dumps(settings), "--folder", folder, "--output", output]
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_the_script_writes_the_record_and_reports_on_stderr(tmp_path, host):
    result = run_script(host.says(whole()), tmp_path / "data", tmp_path / "record.json")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "1 file, 300.0 kB\n")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["files"][0]["sha256"] == sha256(BODY)
    assert (tmp_path / "data/file.bin").read_bytes() == BODY
    assert names(tmp_path) == ["data", "record.json"]


def test_the_script_fails_with_a_message_and_without_a_record(tmp_path, host):
    result = run_script(host.says(status(404)), tmp_path / "data", tmp_path / "record.json")
    assert result.returncode == 1
    assert "error: " in result.stderr and "answers 404" in result.stderr
    assert "Traceback" not in result.stderr
    assert names(tmp_path) == ["data"]
