"""The secret key and the hashes that replace patient identifiers."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from medtransfer.data.privacy import keyed_hash, load_key
from medtransfer.errors import MedtransferError


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_with_owner_only_access_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "patient.key"
    key = load_key(path)
    assert len(key) == 32
    assert mode(path) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["patient.key"]


def test_the_access_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0)
    try:
        load_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert mode(tmp_path / "key") == 0o600


def test_a_key_is_used_again(tmp_path):
    first = load_key(tmp_path / "key")
    content = (tmp_path / "key").read_bytes()
    assert load_key(tmp_path / "key") == first
    assert (tmp_path / "key").read_bytes() == content


def test_a_key_that_is_there_is_read_as_hexadecimal(tmp_path):
    (tmp_path / "key").write_text("00ff10" * 11 + "\n")
    assert load_key(tmp_path / "key") == bytes([0, 255, 16]) * 11


def test_two_places_get_two_keys(tmp_path):
    assert load_key(tmp_path / "one") != load_key(tmp_path / "two")


def test_jobs_that_ask_at_once_get_the_same_key(tmp_path, monkeypatch):
    """A job that finds no key, while another one writes it, takes the other's."""
    path = tmp_path / "key"
    link = os.link

    def late_link(source, target):
        if not path.exists():
            link(source, target)
            first.append(bytes.fromhex(path.read_text()))
        raise FileExistsError

    first: list[bytes] = []
    monkeypatch.setattr(os, "link", late_link)
    assert load_key(path) == first[0]
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_readers_at_once_read_the_same_key(tmp_path):
    key = load_key(tmp_path / "key")
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(load_key, [tmp_path / "key"] * 8)) == {key}


@pytest.mark.parametrize("content", ["", "\n", "ab", "not hexadecimal"])
def test_a_key_file_without_a_usable_key_is_refused_by_name(tmp_path, content):
    """An HMAC with an empty key is a hash that anybody can recompute."""
    (tmp_path / "patient.key").write_text(content)
    with pytest.raises(MedtransferError, match=r"patient\.key"):
        load_key(tmp_path / "patient.key")


@pytest.mark.parametrize("value", ["P0001", "", "Müller^Jürgen", "x" * 1000])
def test_a_hash_is_the_start_of_hmac_sha256(value):
    key = bytes(range(32))
    expected = hmac.new(key, value.encode("utf-8"), hashlib.sha256).hexdigest()
    assert keyed_hash(key, value) == expected[:16]


def test_a_hash_is_hmac_by_its_definition_in_rfc_2104():
    key, value = b"k" * 32, "P0001"
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + value.encode()).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).hexdigest()
    assert keyed_hash(key, value) == outer[:16]


def test_hashes_differ_by_key_and_by_value_and_do_not_show_the_value():
    hashes = {keyed_hash(key, value) for key in (b"a", b"b") for value in ("P1", "P2")}
    assert len(hashes) == 4
    assert keyed_hash(b"a", "P1") != hashlib.sha256(b"P1").hexdigest()[:16]
    assert len(keyed_hash(b"a", "P1")) == 16
