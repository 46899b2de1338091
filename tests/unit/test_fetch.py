"""Data sets brought into their folder, from a host on this machine, an archive or a client."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from http_server import BODY, OTHER, hosts, ranged, status, whole

from medtransfer.config.access import AccessSettings, RemoteFileSettings
from medtransfer.data import fetch as fetch_module
from medtransfer.data.download import Patience
from medtransfer.data.fetch import ALREADY_THERE, fetch
from medtransfer.errors import ConfigError, DataError

SCRIPT = Path(__file__).resolve().parents[2] / "workflow" / "scripts" / "fetch.py"
QUICK = Patience(timeout=5, tries=3, most_tries=40, first_wait=0.001, longest_wait=5)


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C reaches what runs here, also where a shell has put the tests into the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with hosts() as start:
        yield start()


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("SET_TOKEN", "hidden-token-22")
    return {"token": "SET_TOKEN", "instructions": "Ask the owner for access."}


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


def has_free(monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def client(code, *expected, **settings):
    command = (sys.executable, "-c", code)
    return AccessSettings(client=command, expected=expected, **settings)


# --- several files ----------------------------------------------------------------------------------


def test_a_file_is_fetched_byte_for_byte_and_recorded(tmp_path, host):
    url = host.says(whole())
    record, lines = bring(access(one(url, name="parts/file.bin")), tmp_path / "new")
    assert (tmp_path / "new/parts/file.bin").read_bytes() == BODY
    assert record == {
        "files": [{"name": "parts/file.bin", "size": 300_000, "sha256": sha256(BODY), "source": url}],
        "expected": [],
    }
    assert json.loads(json.dumps(record)) == record
    assert names(tmp_path / "new/parts") == [".file.bin.fetched.json", "file.bin"]
    assert len(host.seen) == 1
    assert lines == ["1 file, of unknown size"]


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


# --- tokens -----------------------------------------------------------------------------------------


def test_a_missing_token_is_named_before_any_request(tmp_path, host, monkeypatch, token):
    for value in (None, "", " \n"):
        monkeypatch.delenv("SET_TOKEN", raising=False)
        if value is not None:
            monkeypatch.setenv("SET_TOKEN", value)
        refused(access(one(host.says(whole())), **token), tmp_path, "SET_TOKEN is not set.*Ask the")
    assert host.seen == []


def test_no_token_is_needed_for_files_that_are_there(tmp_path, host, token, monkeypatch):
    monkeypatch.delenv("SET_TOKEN")
    (tmp_path / "file.bin").write_bytes(BODY)
    bring(access(one(host.says(whole())), **token), tmp_path)
    assert host.seen == []


# --- the disk ---------------------------------------------------------------------------------------


def test_only_what_is_missing_of_a_part_is_announced_and_asked_for(tmp_path, host):
    url = host.says(ranged(sent=120_000), ranged(sent=0))
    refused(access(one(url)), tmp_path, "connection cut after 120000 of 300000 bytes")
    host.seen.clear()
    host.says(ranged())
    _, lines = bring(access(one(url, size=300_000)), tmp_path)
    assert lines == ["1 file, 180.0 kB"]
    assert host.asked("Range") == ["bytes=120000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_what_does_not_fit_is_refused_before_the_first_request(tmp_path, host, monkeypatch):
    url = host.says(ranged())
    settings = access(one(url, name="a", size=300_000), one(url, name="b", size=300_000))
    has_free(monkeypatch, 599_999)
    refused(settings, tmp_path, r"600\.0 kB needed, 600\.0 kB free")
    assert host.seen == []
    has_free(monkeypatch, 600_000)
    bring(settings, tmp_path)


def test_what_is_there_already_needs_no_room(tmp_path, host, monkeypatch):
    url = host.says(ranged(sent=200_000), ranged(sent=0))
    refused(access(one(url)), tmp_path)
    host.says(ranged())
    has_free(monkeypatch, 100_000)
    bring(access(one(url, size=300_000)), tmp_path)
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


def test_a_later_run_knows_where_a_file_is_from(tmp_path, host):
    url = host.says(whole())
    settings = access(one(url + "?key=22hidden"))
    first, _ = bring(settings, tmp_path)
    assert bring(settings, tmp_path)[0] == first and first["files"][0]["source"] == url
    assert "22hidden" not in (tmp_path / ".file.bin.fetched.json").read_text()
    (tmp_path / "file.bin").write_bytes(OTHER)
    assert bring(settings, tmp_path)[0]["files"][0]["source"] == ALREADY_THERE
    assert len(host.seen) == 1


@pytest.mark.parametrize("notes", ["", "{", "[]", "{}", "1", '{"sha256": 1, "source": "x"}'])
def test_unreadable_notes_are_none(tmp_path, host, notes):
    packed = zipped({"a": b"1"})
    (tmp_path / "set.zip").write_bytes(packed)
    (tmp_path / ".set.zip.fetched.json").write_text(notes)
    record, lines = bring(access(one(host.url(), name="set.zip", unpack=True)), tmp_path)
    assert record["files"][0]["source"] == ALREADY_THERE
    assert lines == ["set.zip: unpacking"]
    assert (tmp_path / "a").read_bytes() == b"1"


# --- archives, the owner's client and what is expected ----------------------------------------------


def test_an_archive_is_unpacked_beside_itself_once(tmp_path, host, monkeypatch):
    packed = zipped({"images/a.png": BODY})
    calls = []
    unpack = fetch_module.unpack
    monkeypatch.setattr(fetch_module, "unpack", lambda *a: calls.append(a) or unpack(*a))
    file = one(host.says(whole(packed)), name="sub/set.zip", unpack=True)
    settings = access(file, expected=("sub/images/a.png",))
    for _ in range(2):
        record, _ = bring(settings, tmp_path)
        assert len(calls) == 1 and len(host.seen) == 1
        assert record["files"][0]["source"] == host.url()
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


def run_script(settings, folder, output, **environment):
    arguments = ["--access", json.dumps(settings), "--folder", folder, "--output", output]
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def script_settings(url):
    return {"files": [{"name": "file.bin", "urls": [url], "size": 300_000}]}


def test_the_script_writes_the_record_and_reports_on_stdout(tmp_path, host):
    settings = script_settings(host.says(whole()))
    result = run_script(settings, tmp_path / "data", tmp_path / "record.json")
    assert (result.returncode, result.stdout, result.stderr) == (0, "data: 1 file, 300.0 kB\n", "")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["files"][0]["sha256"] == sha256(BODY)
    assert (tmp_path / "data/file.bin").read_bytes() == BODY
    assert names(tmp_path) == ["data", "record.json"]


def test_the_script_fails_with_a_message_and_without_a_record(tmp_path, host):
    settings = script_settings(host.says(status(404)))
    result = run_script(settings, tmp_path / "data", tmp_path / "record.json")
    assert result.returncode == 1
    assert "error: " in result.stderr and "answers 404" in result.stderr
    assert "Traceback" not in result.stderr
    assert names(tmp_path) == ["data"]


def test_the_script_shows_what_the_terminal_has_no_letters_for(tmp_path):
    code = "import sys; sys.stdout.buffer.write('50 % █\\n'.encode()); open('a', 'w')"
    settings = {"client": [sys.executable, "-c", code], "expected": ["a"]}
    result = run_script(settings, tmp_path / "data", tmp_path / "record.json", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert "50 % \\u2588" in result.stdout


def test_an_archive_does_not_come_where_all_that_is_expected_of_it_was_placed(host, tmp_path):
    table = host.says(whole(b"a,b"), path="/table.csv")
    archive = host.says(status(500), path="/x.zip")
    settings = access(
        one(archive, name="x.zip", unpack=True),
        one(table, name="table.csv"),
        expected=("images/a.png",),
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"placed")
    record, _ = bring(settings, tmp_path)
    assert [file["name"] for file in record["files"]] == ["table.csv"]
    assert (tmp_path / "table.csv").read_bytes() == b"a,b"
    (tmp_path / "images/a.png").unlink()
    refused(settings, tmp_path, match="x.zip")


def test_how_to_get_files_by_hand_is_told_when_they_cannot_be_fetched(host, tmp_path):
    settings = access(one(host.says(status(404))), instructions="Ask the owners.")
    refused(settings, tmp_path, match=rf"404.*\nAsk the owners.\nput what is missing into {tmp_path}")
