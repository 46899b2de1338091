"""Archives become plain files, inside of one folder and nowhere else."""

from __future__ import annotations

import contextlib
import errno
import gzip
import lzma
import os
import posixpath
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from medtransfer.config.access import ARCHIVES
from medtransfer.errors import DataError

BLOCK = 1 << 20
# an archive is a bomb above both limits: no image compresses a thousandfold, only constant bytes do
BOMB_SIZE = 1 << 30
BOMB_RATIO = 1000
LONGEST_LINK_CHAIN = 40
LONGEST_LINK = 4096
ENCRYPTED = 0x1
DRIVE = re.compile(r"[A-Za-z]:")
# beside its own errors zipfile raises ValueError for offsets and names that can't be, and
# NotImplementedError for a method of compression that it doesn't know
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


@dataclass(frozen=True)
class _Member:
    """A file of an archive; a link instead names, from the archive's root, what it stands for."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | gzip.GzipFile]
    link: str | None = None


def unpack(archive: Path, folder: Path) -> list[str]:
    """Write the files of an archive below a folder; the archive is kept.

    Everything is checked before anything is written, and all is written beside before it is moved
    into place, replacing what has the same name. Files get mode 0644; links that stay inside become
    copies; what macOS adds (``__MACOSX/``, ``.DS_Store``) is left out.

    Args:
        archive: zip, npz, tar, tar.gz, tgz, tar.bz2, tar.xz, or gz of one file.
        folder: where the files go; made when it isn't there.

    Returns:
        The paths of the files below the folder, sorted, with ``/``.

    Raises:
        DataError: the archive is damaged, encrypted, of another kind, would write outside of the
            folder or over something that isn't a file, doesn't fit on the disk, or unpacks to more
            than ``BOMB_RATIO`` times its own size and more than ``BOMB_SIZE`` bytes.
    """
    with _problems_named(archive), _members_of(archive) as listing:
        members = _checked(archive, listing)
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(archive, folder, members)
        _check_places(archive, folder, members)
        temporary = folder / f".{archive.name}.unpacking"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            _write_members(archive, members, temporary)
            _move_into(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return sorted(members)


def contents(archive: Path) -> list[str]:
    """The paths that :func:`unpack` would write, sorted; nothing is written.

    Raises:
        DataError: as :func:`unpack`, but for what the folder is like.
    """
    with _problems_named(archive), _members_of(archive) as listing:
        return sorted(_checked(archive, listing))


def is_archive(path: Path) -> bool:
    """Whether the name is one of an archive that :func:`unpack` knows."""
    return path.name.lower().endswith(tuple(ARCHIVES))


def shown_size(count: float) -> str:
    """A number of bytes for people, e.g. ``9.5 GB`` (10⁹ bytes)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@contextlib.contextmanager
def _problems_named(archive: Path) -> Iterator[None]:
    """What the libraries raise becomes a DataError that names the archive."""
    try:
        yield
    except DAMAGE as error:
        raise _damaged(archive, str(error)) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of damaged data
            raise _damaged(archive, str(error)) from error
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else f"{error.filename or ''} {error.strerror}".strip()
        raise DataError(f"{archive}: can't be unpacked: {reason}") from error


def _damaged(archive: Path, reason: str) -> DataError:
    return DataError(f"{archive}: damaged, or not of the kind that its name says ({reason})")


def _members_of(archive: Path) -> contextlib.AbstractContextManager[Iterable[_Member]]:
    readers = {"zip": _zip_members, "tar": _tar_members, "gzip": _gzip_members}
    for ending, kind in ARCHIVES.items():
        if archive.name.lower().endswith(ending):
            return readers[kind](archive)
    raise DataError(f"{archive}: unknown kind of archive; allowed: {', '.join(sorted(ARCHIVES))}")


@contextlib.contextmanager
def _zip_members(archive: Path) -> Iterator[Iterable[_Member]]:
    with zipfile.ZipFile(archive) as file:
        yield (_zip_member(archive, file, info) for info in file.infolist() if not info.is_dir())


def _zip_member(archive: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    if info.flag_bits & ENCRYPTED:
        raise DataError(
            f"{archive}: '{info.filename}' is encrypted; unpack it by hand with its password"
        )
    mode = info.external_attr >> 16
    if not stat.S_ISLNK(mode):
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _no_plain_file(archive, info.filename)
        return _Member(info.filename, info.file_size, lambda: file.open(info))
    if info.file_size > LONGEST_LINK:
        raise _damaged(archive, f"'{info.filename}' is a link of {info.file_size} bytes")
    target = file.read(info).decode(errors="surrogateescape")
    return _Member(info.filename, 0, lambda: file.open(info), _beside(info.filename, target))


@contextlib.contextmanager
def _tar_members(archive: Path) -> Iterator[Iterable[_Member]]:
    with tarfile.open(archive, "r:*") as file:
        yield _tar_listing(archive, file)


def _tar_listing(archive: Path, file: tarfile.TarFile) -> Iterator[_Member]:
    for info in file:
        if not info.isdir():
            yield _tar_member(archive, file, info)
    _check_end(archive, file)


def _check_end(archive: Path, file: tarfile.TarFile) -> None:
    """A tar ends with zeros; tarfile takes a damaged header, or no more bytes, for the end as well."""
    assert file.fileobj is not None
    file.fileobj.seek(file.offset)
    end = file.fileobj.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):
        raise _damaged(archive, f"neither a header nor the end at byte {file.offset}")
    size = file.offset
    while block := file.fileobj.read(BLOCK):  # the checksum of a compressed tar comes last
        size += len(block)
        _refuse_bomb(archive, size)


def _tar_member(archive: Path, file: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    def opened() -> IO[bytes]:
        stream = file.extractfile(info)
        assert stream is not None
        return stream

    if info.issym():
        return _Member(info.name, 0, opened, _beside(info.name, info.linkname))
    if info.islnk():
        return _Member(info.name, 0, opened, posixpath.normpath(info.linkname))
    if not info.isfile():
        raise _no_plain_file(archive, info.name)
    return _Member(info.name, info.size, opened)


@contextlib.contextmanager
def _gzip_members(archive: Path) -> Iterator[Iterable[_Member]]:
    """The one file of a gz, by the archive's name: the name within may be anything, or none."""
    size = _gzip_size(archive)
    yield [_Member(archive.name[: -len(".gz")], size, partial(gzip.GzipFile, archive))]


def _gzip_size(archive: Path) -> int:
    """The unpacked size; the one that a gz declares is modulo 2³² and of its last piece only."""
    size = 0
    with gzip.open(archive) as file:
        while block := file.read(BLOCK):
            size += len(block)
            _refuse_bomb(archive, size)
    return size


def _beside(name: str, target: str) -> str:
    """What a symbolic link means, from the archive's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _no_plain_file(archive: Path, name: str) -> DataError:
    return DataError(
        f"{archive}: '{name}' is a device or another special file; allowed: files, folders and links "
        "that stay inside; nothing was unpacked"
    )


def _checked(archive: Path, listing: Iterable[_Member]) -> dict[str, _Member]:
    """The members by safe path; a name that comes twice means the last, as with tar and unzip."""
    members: dict[str, _Member] = {}
    size = 0
    for member in listing:
        if _is_litter(member.name):
            continue
        size += member.size
        _refuse_bomb(archive, size)
        members[_safe_path(archive, member.name)] = member
    _check_folders(archive, members)
    # links become copies, so that many of them to one file are a bomb too
    _refuse_bomb(archive, _total_size(archive, members))
    return members


def _is_litter(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts[:1] or path.name == ".DS_Store"


def _safe_path(archive: Path, name: str) -> str:
    path = PurePosixPath(name)
    outside = not path.parts or path.is_absolute() or ".." in path.parts
    if outside or "\\" in name or "\0" in name or DRIVE.match(name):
        raise DataError(
            f"{archive}: holds {name!r}; allowed: paths with '/' below the folder; nothing was unpacked"
        )
    return str(path)


def _check_folders(archive: Path, members: Iterable[str]) -> None:
    names = set(members)
    for name in names:
        for parent in PurePosixPath(name).parents:
            if str(parent) in names:
                raise _damaged(archive, f"'{parent}' is both a file and the folder of '{name}'")


def _refuse_bomb(archive: Path, size: int) -> None:
    packed = archive.stat().st_size
    if size > max(BOMB_SIZE, BOMB_RATIO * packed):
        raise DataError(
            f"{archive}: {shown_size(packed)} unpack to {shown_size(size)} or more; allowed: "
            f"{BOMB_RATIO} times its size; nothing was unpacked"
        )


def _total_size(archive: Path, members: dict[str, _Member]) -> int:
    return sum(members[_content_of(archive, members, name)].size for name in members)


def _content_of(archive: Path, members: dict[str, _Member], name: str) -> str:
    """The member whose bytes a member has: itself, or where its links lead."""
    found = name
    for _ in range(LONGEST_LINK_CHAIN):
        link = members[found].link
        if link is None:
            return found
        if link not in members:
            raise DataError(
                f"{archive}: '{name}' is a link to '{link}'; allowed: links to files of the archive; "
                "nothing was unpacked"
            )
        found = link
    raise _damaged(archive, f"'{name}' is a link without end")


def _check_space(archive: Path, folder: Path, members: dict[str, _Member]) -> None:
    needed, free = _total_size(archive, members), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{archive}: unpacks to {shown_size(needed)}, but {folder} has {shown_size(free)} free; "
            "nothing was unpacked"
        )


def _check_places(archive: Path, folder: Path, members: Iterable[str]) -> None:
    """Only files are replaced, never folders or the archive; no link that is there leads outside."""
    root = folder.resolve()
    for parent in {(folder / name).parent for name in members}:
        if not parent.resolve().is_relative_to(root) or _has_file_above(parent, folder):
            raise DataError(
                f"{archive}: would write into {parent}, which is no folder below {folder}; move away "
                "what is there"
            )
    for name in members:
        target = folder / name
        if target.is_dir() or target.resolve() == archive.resolve():
            raise DataError(f"{archive}: would replace {target}; move away what is there")


def _has_file_above(path: Path, folder: Path) -> bool:
    above = [path, *path.parents]
    return any(part.exists() and not part.is_dir() for part in above[: above.index(folder)])


def _write_members(archive: Path, members: dict[str, _Member], folder: Path) -> None:
    """Files in the archive's order, as going back means to decompress again; then links, as copies."""
    for name, member in members.items():
        if member.link is None:
            _write_member(archive, member, _with_parents(folder / name))
    for name, member in members.items():
        if member.link is not None:
            source = folder / _content_of(archive, members, name)
            shutil.copyfile(source, _with_parents(folder / name))
            (folder / name).chmod(0o644)


def _with_parents(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_member(archive: Path, member: _Member, path: Path) -> None:
    with member.open() as source, path.open("wb") as file:
        shutil.copyfileobj(source, file, BLOCK)
        found = file.tell()
    if found != member.size:
        raise _damaged(archive, f"'{member.name}' has {found} bytes, declared: {member.size}")
    path.chmod(0o644)


def _move_into(source: Path, folder: Path) -> None:
    """Whole folders where they are new, so that an expected folder is there at once or not at all."""
    for entry in sorted(source.iterdir()):
        target = folder / entry.name
        if entry.is_dir() and target.is_dir():
            _move_into(entry, target)
        else:
            os.replace(entry, target)
