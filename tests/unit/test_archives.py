"""Archives unpack to plain files, inside of their folder, or not at all."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from medtransfer.data import archives
from medtransfer.data.archives import contents, is_archive, shown_size, unpack
from medtransfer.errors import DataError

NOISE = random.Random(22).randbytes(50_000)
FILES = {"images/a.png": NOISE, "images/größe/b.png": b"", "labels.csv": b"a,b\n" * 1000}
TAR_MODES = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name) if not isinstance(name, str) else name, content)
    return path


def make_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            add(file, name, content)
    return path


def add(file, name, content=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    file.addfile(info, io.BytesIO(content))


def make(path, files):
    ending = path.name.split(".", 1)[1]
    return make_tar(path, files, TAR_MODES[ending]) if ending in TAR_MODES else make_zip(path, files)


def tree(folder):
    """All files below a folder, by path; links are followed."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive, folder, match):
    """Unpacking fails with an error that names the archive, and leaves no trace."""
    before = tree(folder) if folder.exists() else {}
    with pytest.raises(DataError, match=match) as caught:
        unpack(archive, folder)
    assert str(archive) in str(caught.value)
    assert (tree(folder) if folder.exists() else {}) == before
    assert not list(folder.glob(".*"))


# --- what is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["zip", "ZIP", *TAR_MODES])
def test_every_kind_unpacks_byte_for_byte_and_is_kept(tmp_path, ending):
    archive = make(tmp_path / f"set.{ending}", FILES)
    packed = archive.read_bytes()
    assert unpack(archive, tmp_path / "out") == sorted(FILES)
    assert tree(tmp_path / "out") == FILES
    assert archive.read_bytes() == packed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", archive.name]


def test_npz_unpacks_to_npy_files(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.savez_compressed(tmp_path / "set.npz", images=array)
    assert unpack(tmp_path / "set.npz", tmp_path) == ["images.npy"]
    assert (np.load(tmp_path / "images.npy") == array).all()


def test_a_gz_of_one_file_is_named_after_the_archive(tmp_path):
    """Not after the name that it holds, which may lead anywhere."""
    archive = tmp_path / "labels.csv.gz"
    with archive.open("wb") as raw, gzip.GzipFile("../evil.csv", "wb", fileobj=raw) as file:
        file.write(NOISE)
    with archive.open("ab") as raw:  # gzip allows several pieces
        raw.write(gzip.compress(b"more"))
    assert unpack(archive, tmp_path / "out") == ["labels.csv"]
    assert tree(tmp_path / "out") == {"labels.csv": NOISE + b"more"}
    assert not (tmp_path / "evil.csv").exists()


def test_files_are_plain_whatever_the_archive_says(tmp_path):
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as file:
        add(file, "run", b"#!", mode=0o4777, uid=12345)
        add(file, "secret", b"x", mode=0o000)
    before = os.umask(0)
    try:
        unpack(archive, tmp_path / "out")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {"run": 0o644, "secret": 0o644}


@pytest.mark.parametrize("ending", ["zip", "tar.gz"])
def test_what_macos_adds_is_left_out(tmp_path, ending):
    litter = {"__MACOSX/._a.png": b"x", "a/.DS_Store": b"x", ".DS_Store": b"x"}
    archive = make(tmp_path / f"set.{ending}", {**litter, "a/b.png": b"b", "a/__MACOSX.png": b"c"})
    assert unpack(archive, tmp_path / "out") == ["a/__MACOSX.png", "a/b.png"]
    assert tree(tmp_path / "out") == {"a/b.png": b"b", "a/__MACOSX.png": b"c"}


def test_files_go_among_those_that_are_there_and_replace_their_namesakes(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/mine.png").write_bytes(b"mine")
    (tmp_path / "images/a.png").write_bytes(b"old")
    unpack(make_zip(tmp_path / "set.zip", FILES), tmp_path)
    found = tree(tmp_path)
    found.pop("set.zip")
    assert found == {**FILES, "images/mine.png": b"mine"}


def test_leftovers_of_a_killed_run_are_not_unpacked_with_the_rest(tmp_path):
    left = tmp_path / ".set.zip.unpacking"
    left.mkdir()
    (left / "half.png").write_bytes(b"half")
    unpack(make_zip(tmp_path / "set.zip", {"a": b"a"}), tmp_path)
    assert sorted(tree(tmp_path)) == ["a", "set.zip"]


def test_a_name_that_comes_twice_means_the_last(tmp_path):
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as file:
        add(file, "a", b"first")
        add(file, "./a", b"last")
    assert unpack(archive, tmp_path / "out") == ["a"]
    assert tree(tmp_path / "out") == {"a": b"last"}


@pytest.mark.parametrize("ending", ["zip", "tar.xz"])
def test_contents_are_what_unpacking_writes_and_write_nothing(tmp_path, ending):
    archive = make(tmp_path / f"set.{ending}", FILES)
    assert contents(archive) == sorted(FILES)
    assert list(tmp_path.iterdir()) == [archive]
    assert contents(archive) == unpack(archive, tmp_path / "out")


# --- what stays outside -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/x", "//x", "C:/x", "C:x", "..\\x", "a\\b", "a/..", ".."]
)
def test_paths_that_lead_outside_are_refused_before_anything_is_written(tmp_path, ending, name):
    archive = make(tmp_path / f"set.{ending}", {"good.png": b"good", name: b"bad"})
    refused(archive, tmp_path / "out", "allowed: paths")
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name]


LINKS = {
    "above": ("a/link", tarfile.SYMTYPE, "../../secret"),
    "absolute": ("link", tarfile.SYMTYPE, "/etc/passwd"),
    "missing": ("link", tarfile.SYMTYPE, "nothing"),
    "folder": ("link", tarfile.SYMTYPE, "a"),
    "hard": ("link", tarfile.LNKTYPE, "../secret"),
    "hard absolute": ("link", tarfile.LNKTYPE, "/etc/passwd"),
    "itself": ("link", tarfile.SYMTYPE, "link"),
}


@pytest.mark.parametrize("link", LINKS)
def test_links_of_a_tar_to_anything_but_its_files_are_refused(tmp_path, link):
    name, kind, target = LINKS[link]
    (tmp_path / "secret").write_bytes(b"secret")
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as file:
        add(file, "a/good.png", b"good")
        add(file, name, type=kind, linkname=target)
    refused(archive, tmp_path / "out", "link")


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("../secret", "link to '../secret'"),
        ("/etc/passwd", "link to '/etc/passwd'"),
        ("nothing", "link to 'nothing'"),
        ("x" * 5000, "link of 5000 bytes"),
    ],
)
def test_links_of_a_zip_to_anything_but_its_files_are_refused(tmp_path, target, match):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr("good.png", b"good")
        file.writestr(info, target)
    refused(archive, tmp_path / "out", match)


def test_writing_through_a_link_of_the_archive_is_refused(tmp_path):
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as file:
        add(file, "real.png", b"real")
        add(file, "door", type=tarfile.SYMTYPE, linkname="real.png")
        add(file, "door/x", b"bad")
    refused(archive, tmp_path / "out", "both a file and the folder")


def test_links_inside_become_copies(tmp_path):
    archive = tmp_path / "set.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        add(file, "links/early.png", type=tarfile.SYMTYPE, linkname="../a/image.png")
        add(file, "a/image.png", NOISE)
        add(file, "hard.png", type=tarfile.LNKTYPE, linkname="a/image.png")
        add(file, "again.png", type=tarfile.SYMTYPE, linkname="hard.png")
    before = os.umask(0)
    try:
        unpack(archive, tmp_path / "out")
    finally:
        os.umask(before)
    names = ["a/image.png", "again.png", "hard.png", "links/early.png"]
    assert tree(tmp_path / "out") == dict.fromkeys(names, NOISE)
    for name in names:
        found = (tmp_path / "out" / name).lstat()
        assert stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o644
        assert found.st_nlink == 1


def test_a_link_of_a_zip_becomes_a_copy(tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        info = zipfile.ZipInfo("b/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "../a.png")
        file.writestr("a.png", NOISE)
    unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"a.png": NOISE, "b/link.png": NOISE}
    assert not (tmp_path / "out/b/link.png").is_symlink()


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_are_refused(tmp_path, kind):
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as file:
        add(file, "good.png", b"good")
        add(file, "device", type=kind)
    refused(archive, tmp_path / "out", "'device' is a device")


def test_a_link_in_the_folder_is_not_followed_outside(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").symlink_to(tmp_path / "elsewhere")
    archive = make_zip(tmp_path / "set.zip", {"images/a.png": b"a"})
    refused(archive, tmp_path / "out", "no folder below")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_neither_folders_nor_the_archive_are_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_bytes(b"file")
    for name in ("a", "file/x", "file/x/y", "set.zip"):
        archive = make_zip(tmp_path / "set.zip", {"good": b"good", name: b"bad"})
        refused(archive, tmp_path, "move away what is there")


# --- size -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz", "set.csv.gz"])
def test_bombs_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "BOMB_SIZE", 100_000)
    monkeypatch.setattr(archives, "BOMB_RATIO", 50)
    zeros = bytes(1_000_000)
    archive = tmp_path / name
    if name == "set.csv.gz":
        archive.write_bytes(gzip.compress(zeros))
    else:
        make(archive, {"good": b"good", "zeros": zeros})
    refused(archive, tmp_path / "out", "allowed: 50 times its size")
    monkeypatch.setattr(archives, "BOMB_SIZE", 2_000_000)  # small enough to be harmless
    assert unpack(archive, tmp_path / "out")


def test_many_links_to_one_file_are_a_bomb_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "BOMB_SIZE", 100_000)
    monkeypatch.setattr(archives, "BOMB_RATIO", 10)
    archive = tmp_path / "set.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        add(file, "a", NOISE)
        for number in range(50):
            add(file, f"link{number}", type=tarfile.LNKTYPE, linkname="a")
    refused(archive, tmp_path / "out", "allowed: 10 times")


def test_a_declared_size_beyond_the_real_limits_is_refused(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a": b"a" * 1000})
    packed = bytearray(archive.read_bytes())
    entry = packed.index(b"PK\x01\x02")
    packed[entry + 24 : entry + 28] = (4_000_000_000).to_bytes(4, "little")
    archive.write_bytes(packed)
    refused(archive, tmp_path / "out", "unpack to 4.0 GB or more; allowed: 1000 times")


def test_what_does_not_fit_on_the_disk_is_refused_with_both_numbers(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "set.zip", FILES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=53_999))
    refused(archive, tmp_path / "out", r"54\.0 kB, but .*out has 54\.0 kB free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=54_000))
    assert unpack(archive, tmp_path / "out")


def test_a_disk_that_fills_up_is_named_as_such(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    refused(make_zip(tmp_path / "set.zip", FILES), tmp_path / "out", "the disk is full")


# --- damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.0])
def test_archives_that_are_cut_off_are_refused(tmp_path, ending, kept):
    archive = make(tmp_path / f"set.{ending}", {"a": NOISE, "b": NOISE[::-1]})
    whole = archive.read_bytes()
    if ending == "tar":
        whole = whole[: 2 * 512 + 2 * 50_176]  # without the zeros that end it: half is one whole file
    archive.write_bytes(whole[: int(len(whole) * kept)])
    refused(archive, tmp_path / "out", "damaged")


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_in_the_content_is_found(tmp_path, ending):
    archive = make(tmp_path / f"set.{ending}", {"a": NOISE})
    packed = bytearray(archive.read_bytes())
    packed[len(packed) // 2] ^= 1
    archive.write_bytes(packed)
    refused(archive, tmp_path / "out", "damaged")


def test_damage_in_a_later_block_of_a_bz2_is_found(tmp_path):
    archive = make(tmp_path / "set.tar.bz2", {"a": random.Random(22).randbytes(2_000_000)})
    packed = bytearray(archive.read_bytes())
    packed[-700_000] ^= 1
    archive.write_bytes(packed)
    refused(archive, tmp_path / "out", r"set\.tar\.bz2: damaged")


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: gzip.compress(content)[:-5]])
def test_a_gz_is_checked_to_its_end(tmp_path, pack):
    archive = tmp_path / "a.csv.gz"
    packed = bytearray(pack(NOISE))
    packed[len(packed) // 2] ^= 1
    archive.write_bytes(packed)
    refused(archive, tmp_path / "out", "damaged")


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path, ending):
    """As ``tarfile`` itself does, which would lose all files after it."""
    plain = make_tar(tmp_path / "plain", {"a": NOISE, "b": NOISE}).read_bytes()
    second = 512 + 50_176
    damaged = plain[:second] + b"\xff" + plain[second + 1 :]
    archive = tmp_path / f"set.{ending}"
    archive.write_bytes(damaged if ending == "tar" else gzip.compress(damaged))
    refused(archive, tmp_path / "out", f"neither a header nor the end at byte {second}")


@pytest.mark.parametrize(
    "name", ["a.zip", "a.npz", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.gz"]
)
def test_something_else_under_the_name_of_an_archive_is_refused(tmp_path, name):
    archive = tmp_path / name
    archive.write_bytes(b"<html>Please log in</html>" * 100)
    refused(archive, tmp_path / "out", "damaged, or not of the kind")


def test_an_encrypted_zip_is_refused_as_such(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a.png": NOISE})
    packed = bytearray(archive.read_bytes())
    packed[packed.index(b"PK\x03\x04") + 6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(packed)
    refused(archive, tmp_path / "out", r"'a\.png' is encrypted")


def test_a_path_that_is_file_and_folder_is_refused(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a": b"a", "a/b": b"b"})
    refused(archive, tmp_path / "out", "both a file and the folder")


def test_other_kinds_are_refused_with_those_allowed(tmp_path):
    (tmp_path / "set.rar").write_bytes(bz2.compress(b"x"))
    refused(tmp_path / "set.rar", tmp_path / "out", r"allowed: \.gz, .*\.zip")


def test_an_archive_that_is_not_there_is_named(tmp_path):
    refused(tmp_path / "set.zip", tmp_path / "out", "No such file")


# --- words ------------------------------------------------------------------------------------------


def test_archives_are_known_by_name(tmp_path):
    names = ["a.zip", "a.ZIP", "a.tar.gz", "a.tgz", "a.csv.gz", "a.npz", "a.png", "zip", "a.npy"]
    assert [name for name in names if is_archive(tmp_path / name)] == names[:6]


def test_sizes_are_shown_in_powers_of_ten():
    assert [shown_size(n) for n in (0, 999, 1000, 9_500_000_000, 2e15)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "9.5 GB",
        "2000.0 TB",
    ]
