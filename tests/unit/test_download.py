"""Downloads of one file against a host on this machine that does what hosts do."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from http_server import BODY, OTHER, hosts, ranged, redirect, stalled, status, whole

from medtransfer.config.access import AccessSettings, RemoteFileSettings
from medtransfer.data import http_client, partial_file
from medtransfer.data.download import Downloads, Patience, download
from medtransfer.data.http_client import Credentials, read_credentials
from medtransfer.errors import DataError

TOKEN = "hidden-token-22"
# waits are only long enough to be seen by the tests that are about them
QUICK = Patience(timeout=5, tries=3, most_tries=40, first_wait=0.001, longest_wait=5)


@pytest.fixture
def make_host(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with hosts() as start:
        yield start


@pytest.fixture
def host(make_host):
    return make_host()


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("SET_TOKEN", TOKEN)
    return {"token": "SET_TOKEN", "instructions": "Ask the owner for access."}


# --- short forms ------------------------------------------------------------------------------------


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def one(*urls, name="file.bin", **settings):
    return RemoteFileSettings(name=name, urls=urls, **settings)


def bring(file, folder, patience=QUICK, lines=None, **access):
    """The address that gave the file, and all that was reported."""
    lines = [] if lines is None else lines
    folder.mkdir(exist_ok=True)
    credentials = read_credentials(AccessSettings((file,), **access))
    shared = Downloads(credentials, patience, lines.append)
    source, found = download(file, folder / file.name, shared)
    assert found == sha256((folder / file.name).read_bytes())
    return source, lines


def refused(file, folder, match=None, patience=QUICK, **access):
    """The error of a download that fails, and all that was reported, as one text."""
    lines = []
    with pytest.raises(DataError, match=match) as caught:
        bring(file, folder, patience, lines, **access)
    return "\n".join([str(caught.value), *lines])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def has_free(monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


# --- plain downloads --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [whole(), ranged(), ranged(etag=None)])
def test_a_file_is_fetched_byte_for_byte(tmp_path, host, answer):
    url = host.says(answer)
    assert bring(one(url), tmp_path) == (url, [])
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert names(tmp_path) == ["file.bin"]
    assert len(host.seen) == 1


def test_an_empty_file_is_a_file(tmp_path, host):
    bring(one(host.says(whole(b""))), tmp_path)
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

    _, lines = bring(one(host.says(chunks)), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert len(host.seen) == 2 and "connection cut" in lines[0]


def test_both_checksums_and_the_size_are_checked(tmp_path, host):
    md5 = hashlib.md5(BODY).hexdigest()
    url = host.says(whole())
    for good in ({"sha256": sha256(BODY)}, {"md5": md5}, {"size": 300_000}):
        folder = tmp_path / next(iter(good))
        bring(one(url, **good), folder)
        assert (folder / "file.bin").read_bytes() == BODY
    for wrong in ({"sha256": sha256(OTHER)}, {"md5": md5[::-1]}, {"size": 300_001}):
        text = refused(one(url, **wrong), tmp_path / "wrong", "expected")
        assert str(next(iter(wrong.values()))) in text
        assert names(tmp_path / "wrong") == []


def test_progress_is_reported_now_and_then(tmp_path, host):
    talkative = replace(QUICK, report_every=0.0)
    _, lines = bring(one(host.says(whole())), tmp_path, talkative)
    assert re.fullmatch(r"file\.bin: 300\.0 kB of 300\.0 kB, .*B a second", lines[-1])


# --- resuming ---------------------------------------------------------------------------------------


def test_a_cut_connection_is_continued_several_times(tmp_path, host):
    """More often than the tries without progress: each new byte resets them."""
    url = host.says(ranged(sent=50_000))
    bring(one(url, sha256=sha256(BODY)), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    starts = [None] + [f"bytes={start}-" for start in range(50_000, 300_000, 50_000)]
    assert host.asked("Range") == starts
    assert host.asked("If-Range") == [None] + ['"1"'] * 5


def test_a_later_run_asks_for_the_missing_bytes_only(tmp_path, host):
    url = host.says(ranged(sent=120_000), ranged(sent=0))
    refused(one(url), tmp_path, "connection cut after 120000 of 300000 bytes")
    assert names(tmp_path) == [".file.bin.part", ".file.bin.part.json"]
    host.seen.clear()
    host.says(ranged())
    bring(one(url, size=300_000), tmp_path)
    assert host.asked("Range") == ["bytes=120000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert names(tmp_path) == ["file.bin"]


def test_a_date_serves_as_well_as_an_etag(tmp_path, host):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"

    def cut(handler):
        handler.head(200, {"Content_Length": len(BODY), "Last_Modified": date, "ETag": 'W/"1"'})
        handler.wfile.write(BODY[:1000])

    bring(one(host.says(cut, ranged(etag=date))), tmp_path)
    assert host.asked("If-Range") == [None, date]
    assert host.asked("Range") == [None, "bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_it_starts_over(tmp_path, host, etag):
    url = host.says(ranged(etag=etag, sent=1000), ranged(etag=etag))
    bring(one(url), tmp_path)
    assert host.asked("Range") == [None, None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_host_that_ignores_ranges_is_read_from_the_start(tmp_path, host):
    bring(one(host.says(ranged(sent=1000), whole())), tmp_path)
    assert host.asked("Range") == [None, "bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_not_patched_together(tmp_path, host, heeds_if_range):
    url = host.says(ranged(sent=1000), ranged(OTHER, '"2"', heeds_if_range=heeds_if_range))
    bring(one(url), tmp_path)
    assert host.asked("Range")[1] == "bytes=1000-"
    assert (tmp_path / "file.bin").read_bytes() == OTHER


@pytest.mark.parametrize("extent", ["bytes 0-299999/300000", "bytes 999-299999/300000", "nonsense"])
def test_a_range_that_begins_elsewhere_is_not_used(tmp_path, host, extent):
    def shifted(handler):
        handler.head(206, {"Content_Length": len(BODY), "Content_Range": extent, "ETag": '"1"'})
        handler.wfile.write(BODY)

    bring(one(host.says(ranged(sent=1000), shifted, ranged())), tmp_path)
    assert host.asked("Range") == [None, "bytes=1000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_that_the_host_calls_complete_is_taken(tmp_path, host):
    """The first answer promised more bytes than there are."""
    url = host.says(ranged(BODY + b"promised", sent=len(BODY)), ranged())
    bring(one(url), tmp_path)
    assert host.asked("Range") == [None, "bytes=300000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_beyond_the_end_of_the_file_starts_over(tmp_path, host):
    url = host.says(ranged(sent=200_000), ranged(BODY[:100_000]))
    bring(one(url), tmp_path)
    assert host.asked("Range") == [None, "bytes=200000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY[:100_000]


def test_a_complete_part_needs_no_request(tmp_path, host):
    """As when a run was killed before it could rename the file."""
    url = host.says(ranged(BODY + b"promised", sent=len(BODY)), ranged(BODY + b"promised", sent=0))
    refused(one(url), tmp_path)
    host.seen.clear()
    bring(one(url, size=300_000), tmp_path)
    assert host.seen == []
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_should_be_is_not_continued(tmp_path, host):
    url = host.says(ranged(sent=200_000), ranged(sent=0))
    refused(one(url), tmp_path)
    host.seen.clear()
    host.says(ranged(BODY[:100_000]))
    bring(one(url, size=100_000), tmp_path)
    assert host.asked("Range") == [None]
    assert (tmp_path / "file.bin").read_bytes() == BODY[:100_000]


def test_a_part_is_not_continued_at_another_address(tmp_path, host):
    """A mirror's bytes may be of another version though its ETag is the same."""
    first, second = host.says(ranged(sent=1000), status(404)), host.says(ranged(OTHER), path="/mirror")
    bring(one(first, second), tmp_path)
    assert host.asked("Range", "/mirror") == [None]
    assert (tmp_path / "file.bin").read_bytes() == OTHER


def test_a_wrong_part_of_an_earlier_run_is_fetched_anew(tmp_path, host):
    url = host.says(ranged(OTHER, sent=1000), ranged(sent=0))
    refused(one(url), tmp_path)
    host.seen.clear()
    host.says(ranged())  # another content under the same ETag
    bring(one(url, sha256=sha256(BODY)), tmp_path)
    assert host.asked("Range") == ["bytes=1000-", None]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("notes", ["", "{", "[]", "{}", '{"address": 1}'])
def test_a_part_with_unreadable_notes_starts_over(tmp_path, host, notes):
    (tmp_path / ".file.bin.part").write_bytes(OTHER[:1000])
    (tmp_path / ".file.bin.part.json").write_text(notes)
    bring(one(host.says(ranged())), tmp_path)
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
    bring(one(url, sha256=sha256(BODY)), tmp_path)
    assert host.asked("Range") == [None, "bytes=100000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


# --- tries, waits and mirrors -----------------------------------------------------------------------


def test_without_progress_the_tries_are_counted(tmp_path, host):
    text = refused(one(host.says(ranged(sent=0))), tmp_path, "given up after 3 tries")
    assert len(host.seen) == 3
    assert text.count("trying again") == 2


def test_with_progress_too_there_is_an_end(tmp_path, host):
    few = replace(QUICK, most_tries=5)
    refused(one(host.says(ranged(sent=10))), tmp_path, "given up after 5 tries", few)
    assert len(host.seen) == 5


def test_waits_grow(tmp_path, host):
    waits = []
    stop = SimpleNamespace(wait=waits.append, is_set=lambda: False)
    patience = replace(QUICK, tries=6, first_wait=100.0, longest_wait=500.0)
    file = one(host.says(ranged(sent=0)))
    shared = Downloads(Credentials(AccessSettings((file,))), patience, print, stop)
    with pytest.raises(DataError, match="given up after 6 tries"):
        download(file, tmp_path / "file.bin", shared)
    for wait, middle in zip(waits, (100, 200, 400), strict=False):
        assert middle / 2 <= wait <= min(500, middle * 1.5)
    assert waits[4] == 500 and len(set(waits[:3])) == 3


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_busy_host_is_asked_again_after_the_time_that_it_asks_for(tmp_path, host, code):
    url = host.says(status(code, Retry_After=1), whole())
    begin = time.monotonic()
    _, lines = bring(one(url), tmp_path)
    assert 1.0 <= time.monotonic() - begin < 2.5
    assert len(host.seen) == 2
    assert f"answers {code}" in lines[0] and "trying again in 1 s" in lines[0]
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("as_date", [False, True])
def test_a_host_that_asks_for_too_long_a_wait_is_left_for_a_mirror(tmp_path, host, as_date):
    moment = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    first = host.says(status(503, Retry_After=moment if as_date else 3600))
    source, lines = bring(one(first, host.says(whole(), path="/mirror")), tmp_path)
    assert source.endswith("/mirror")
    assert [path for path, _ in host.seen] == ["/file", "/mirror"]
    assert re.search(r"asks to wait 3(600|59\d) s", lines[0])


def test_a_nonsensical_wait_is_no_wait(tmp_path, host):
    bring(one(host.says(status(503, Retry_After="soon"), whole())), tmp_path)
    assert len(host.seen) == 2


@pytest.mark.parametrize("code", [400, 404, 410, 451])
def test_a_file_that_is_not_there_is_not_asked_for_again_but_at_a_mirror(tmp_path, host, code):
    first = host.says(status(code))
    source, _ = bring(one(first, host.says(whole(), path="/mirror")), tmp_path)
    assert [path for path, _ in host.seen] == ["/file", "/mirror"]
    assert source == host.url("/mirror")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_every_address_that_failed_is_named(tmp_path, host):
    first, second = host.says(status(404)), host.says(status(410), path="/mirror")
    refused(
        one(first, second),
        tmp_path,
        f"file.bin: not fetched: {first}: answers 404 Not Found; {second}: answers 410 Gone",
    )
    assert names(tmp_path) == []


def test_a_wrong_file_is_discarded_and_the_mirror_asked(tmp_path, host):
    first = host.says(whole(OTHER))
    mirror = host.says(whole(), path="/mirror")
    source, lines = bring(one(first, mirror, sha256=sha256(BODY)), tmp_path)
    assert source == mirror
    assert [path for path, _ in host.seen] == ["/file", "/mirror"]
    assert f"sha256 {sha256(OTHER)} found, expected {sha256(BODY)}" in lines[0]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_file_that_is_wrong_everywhere_is_an_error_with_both_checksums(tmp_path, host):
    first, mirror = host.says(whole(OTHER)), host.says(whole(OTHER), path="/mirror")
    text = refused(one(first, mirror, sha256=sha256(BODY)), tmp_path)
    for url in (first, mirror):
        assert f"{url}: sha256 {sha256(OTHER)} found, expected {sha256(BODY)}" in text
    assert f"{tmp_path}/file.bin: not fetched" in text
    assert names(tmp_path) == []
    assert len(host.seen) == 2


def test_a_wrong_size_is_refused_before_it_is_received(tmp_path, host):
    refused(one(host.says(ranged()), size=1000), tmp_path, "300000 bytes offered, expected 1000")
    assert names(tmp_path) == []


def test_a_host_that_sends_without_end_is_cut_off(tmp_path, host):
    def endless(handler):
        handler.head(200, {})
        for _ in range(1000):
            handler.wfile.write(BODY)

    refused(one(host.says(endless), size=1000), tmp_path, "more than the expected 1000 bytes")


def test_a_host_that_goes_silent_is_asked_for_the_rest(tmp_path, host, release):
    """What came before the silence is kept, though it is no full block."""
    url = host.says(stalled(1000, release), ranged())
    _, lines = bring(one(url), tmp_path, replace(QUICK, timeout=0.2))
    assert "no answer for 0.2 s" in lines[0]
    assert host.asked("Range") == [None, "bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_host_that_never_answers_is_given_up(tmp_path, host, release):
    url = host.says(lambda _: release.wait(10))
    refused(one(url), tmp_path, "no answer for 0.1 s; given up", replace(QUICK, timeout=0.1))
    assert len(host.seen) == 3


def test_a_host_that_is_not_there_is_named_with_the_reason(tmp_path, make_host):
    gone = make_host()
    gone.server_close()
    refused(one(gone.url()), tmp_path, f"{gone.url()}: Connection refused; given up after 3")


@pytest.mark.parametrize("url", ["http://[bad/x?key=22hidden", "http://127.0.0.1:port/?key=22hidden"])
def test_a_redirect_to_no_address_is_an_error_without_its_query(tmp_path, host, url):
    file = one(host.says(redirect(url)))
    assert "22hidden" not in refused(file, tmp_path, f"{host.url()}: not a usable address")


# --- redirects, tokens and log-in pages -------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_range(tmp_path, host, code):
    host.says(ranged(sent=1000), ranged(), path="/real")
    url = host.says(redirect("/real", code))
    source, _ = bring(one(url), tmp_path)
    assert host.asked("Range", "/real") == [None, "bytes=1000-"]
    assert source == url
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_the_token_goes_to_the_host_and_stays_there(tmp_path, host, make_host, token):
    other = make_host()
    other.says(redirect(host.url("/back")))
    host.says(whole(), path="/back")
    host.says(redirect(other.url()), path="/near")
    source, lines = bring(one(host.says(redirect("/near"))), tmp_path, **token)
    assert host.asked("Authorization") == [f"Bearer {TOKEN}"]
    assert host.asked("Authorization", "/near") == [f"Bearer {TOKEN}"]
    assert other.asked("Authorization") == [None]
    assert host.asked("Authorization", "/back") == [None]
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert TOKEN not in source + "".join(lines)


def test_the_token_is_not_sent_without_encryption_but_to_this_machine(
    tmp_path, host, token, monkeypatch
):
    url = host.says(status(401))
    monkeypatch.setattr(http_client, "may_have_token", lambda _: False)
    refused(one(url), tmp_path, "the token in SET_TOKEN is only sent by https", **token)
    assert host.asked("Authorization") == [None]


@pytest.mark.parametrize("target", ["/file", "ftp://127.0.0.1/x", "file:///etc/hostname"])
def test_redirects_without_end_or_elsewhere_are_refused(tmp_path, host, target):
    refused(one(host.says(redirect(target))), tmp_path, "redirects without end, or to no web")
    assert len(host.seen) < 15
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_named_by_its_variable_only(tmp_path, host, token, code):
    text = refused(
        one(host.says(status(code))),
        tmp_path,
        f"answers {code} .*the token in SET_TOKEN may be expired or lack rights",
        **token,
    )
    assert TOKEN not in text
    assert len(host.seen) == 1


def test_without_a_token_a_refusal_comes_with_the_instructions(tmp_path, host):
    match = "answers 403 Forbidden: not for everybody. Ask the owner."
    refused(one(host.says(status(403))), tmp_path, match, instructions="Ask the owner.")


@pytest.mark.parametrize("value", ["22hidden\nX: y", "22hidden token", "22hiddén"])
def test_a_token_that_no_header_may_hold_is_not_shown(tmp_path, host, monkeypatch, token, value):
    monkeypatch.setenv("SET_TOKEN", value)
    assert "22hidd" not in refused(one(host.says(whole())), tmp_path, "SET_TOKEN", **token)


def test_queries_are_sent_but_never_shown(tmp_path, host):
    good, bad = host.says(whole(), path="/good"), host.says(status(404))
    source, lines = bring(one(bad + "?key=22hidden", good + "?key=22hidden"), tmp_path / "a")
    assert source == good
    text = refused(one(bad + "?key=22hidden#part"), tmp_path / "b", re.escape(bad))
    assert "22hidden" not in source + "".join(lines) + text
    host.says(ranged(sent=1000), ranged(sent=0))
    refused(one(bad + "?key=22hidden"), tmp_path / "c")
    left = [path.read_bytes() for path in (tmp_path / "c").iterdir()]
    assert len(left) == 2 and all(b"22hidden" not in content for content in left)


def test_a_web_page_instead_of_a_file_is_refused(tmp_path, host):
    page = whole(b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
    mirror = host.says(whole(), path="/mirror")
    refused(one(host.says(page)), tmp_path, "answers with a web page instead of the file")
    assert names(tmp_path) == []
    bring(one(host.url(), mirror), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    bring(one(host.url(), name="page.html"), tmp_path)
    assert (tmp_path / "page.html").read_bytes() == b"<html>Please log in</html>"


def test_a_checksum_tells_better_than_the_kind_that_a_host_names(tmp_path, host):
    url = host.says(whole(Content_Type="text/html"))
    bring(one(url, sha256=sha256(BODY)), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == BODY


# --- the disk ---------------------------------------------------------------------------------------


def test_a_size_that_only_the_host_knows_counts_too(tmp_path, host, monkeypatch):
    has_free(monkeypatch, 299_999)
    file = one(host.says(ranged()))
    refused(file, tmp_path, r"file\.bin: 300\.0 kB needed, 300\.0 kB free")
    has_free(monkeypatch, 300_000)
    bring(file, tmp_path)


def test_a_disk_that_fills_up_is_named_and_the_part_kept(tmp_path, host, monkeypatch):
    write = partial_file._write

    def limited(stream, block):
        write(stream, block[: max(0, 70_000 - stream.tell())])
        if stream.tell() == 70_000:
            raise OSError(28, "No space left on device")

    url = host.says(ranged())
    monkeypatch.setattr(partial_file, "_write", limited)
    refused(one(url), tmp_path, r"file\.bin: the disk is full")
    assert len(host.seen) == 1
    monkeypatch.setattr(partial_file, "_write", write)
    bring(one(url), tmp_path)
    assert host.asked("Range") == [None, "bytes=70000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY
