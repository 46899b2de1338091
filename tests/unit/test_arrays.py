"""Array files of images: NumPy's .npy and HDF5."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from medtransfer.data.decoding import count_frames
from medtransfer.data.images import ArrayFile, open_source
from medtransfer.errors import DataError


def saved(folder: Path, array: np.ndarray, kind: str = "npy") -> Path:
    path = folder / f"images.{kind}"
    if kind == "npy":
        np.save(path, array)
    else:
        with h5py.File(path, "w") as file:
            file["images"] = array
    return path


def values(shape: tuple[int, ...], kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(kind)


def between_percentiles(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image.astype(float), (1, 99))
    return np.clip((image.astype(float) - low) / (high - low), 0, 1)


@pytest.mark.parametrize("kind", ["npy", "h5", "hdf5"])
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 6, 5, 3), (1, 6, 5)])
def test_each_image_of_bytes_is_as_it_is_stored(tmp_path, shape, kind):
    array = values(shape)
    source = open_source(saved(tmp_path, array, kind))
    assert source.frames == shape[0]
    for number in range(shape[0]):
        found = source.picture(number)
        assert found.display == "full range"
        assert found.values.dtype == np.uint8
        expected = array[number, ..., 0] if shape[-1] == 1 else array[number]
        np.testing.assert_array_equal(found.values, expected)


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_an_array_of_two_axes_is_one_image(tmp_path, kind):
    array = values((6, 5))
    source = open_source(saved(tmp_path, array, kind))
    assert source.frames == 1
    np.testing.assert_array_equal(source.picture().values, array)
    np.testing.assert_array_equal(source.picture(0).values, array)


def test_the_only_image_of_an_array_needs_no_number():
    array = values((1, 6, 5))
    np.testing.assert_array_equal(ArrayFile(array).picture().values, array[0])


@pytest.mark.parametrize(
    "kind", [np.uint16, np.int16, np.int8, "<f4", ">f8", ">u2", np.uint32, np.int64]
)
def test_deeper_images_are_stretched_between_their_own_percentiles(tmp_path, kind):
    array = np.random.default_rng(1).integers(-100, 100, (3, 20, 10)) * np.array(
        [[[1]], [[0.5]], [[1]]]
    )
    array = (array + (100 if np.dtype(kind).kind == "u" else 0)).astype(kind)
    source = open_source(saved(tmp_path, array))
    for number in range(3):
        found = source.picture(number)
        assert found.display == "percentiles"
        assert found.values.dtype == np.float32
        np.testing.assert_allclose(found.values, between_percentiles(array[number]), atol=1e-6)


def test_colours_of_a_deep_image_are_stretched_together():
    array = np.random.default_rng(1).integers(0, 4096, (2, 9, 8, 3)).astype(np.uint16)
    found = ArrayFile(array).picture(1).values
    np.testing.assert_allclose(found, between_percentiles(array[1]), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_finite_numbers_are_refused(value):
    array = np.zeros((2, 3, 3))
    array[1, 0, 0] = value
    assert (ArrayFile(array).picture(0).values == 0).all()
    with pytest.raises(DataError, match="pixels that are no finite numbers"):
        ArrayFile(array).picture(1)


@pytest.mark.parametrize("shape", [(5,), (), (2, 3, 4, 2), (2, 3, 4, 4), (2, 3, 4, 3, 1)])
def test_arrays_of_other_shapes_are_refused(tmp_path, shape):
    path = saved(tmp_path, np.zeros(shape, dtype=np.uint8))
    with pytest.raises(
        DataError, match=r"an array of shape \(.*; allowed: N x H x W \[x 1 or 3\], H x W"
    ):
        open_source(path)


@pytest.mark.parametrize("kind", [bool, complex, "U3", "datetime64[s]", [("a", "u1")]])
def test_arrays_of_other_things_than_numbers_are_refused(tmp_path, kind):
    path = saved(tmp_path, np.zeros((2, 3, 3), dtype=kind))
    with pytest.raises(DataError, match=r"an array of .*; allowed: integers and floats"):
        open_source(path)


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_objects_in_an_array_are_refused_and_not_unpickled(tmp_path):
    array = np.empty((1, 1, 1), dtype=object)
    array[0, 0, 0] = Trap(tmp_path / "sprung")
    path = tmp_path / "images.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(ValueError, match=r"memory-mapped: Python objects|allow_pickle"):
        open_source(path)
    assert not (tmp_path / "sprung").exists()
    np.load(path, allow_pickle=True)
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x93NUMPY\x01\x00\x76\x00{'descr'"])
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_files_that_are_no_arrays_raise(tmp_path, content, suffix):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError, EOFError)):
        open_source(path)
    assert count_frames(str(path)) == 1


def test_an_array_file_that_breaks_off_raises(tmp_path):
    path = saved(tmp_path, values((4, 6, 5)))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="mmap length"):
        open_source(path)


@pytest.mark.parametrize("kind", ["npy", "h5"])
@pytest.mark.parametrize("frame", [4, 5, 10**9])
def test_images_that_are_not_there_are_refused(tmp_path, frame, kind):
    source = open_source(saved(tmp_path, values((4, 6, 5)), kind))
    for ask in (source.picture, source.sha256):
        with pytest.raises(DataError, match=f"image {frame} of 4; images count from 0"):
            ask(frame)


def test_several_images_need_a_number():
    with pytest.raises(DataError, match="4 images; name the manifest's column in the key 'frame'"):
        ArrayFile(values((4, 6, 5))).picture()


def test_an_array_of_no_images_has_none():
    source = ArrayFile(np.zeros((0, 6, 5), dtype=np.uint8))
    assert source.frames == 0
    with pytest.raises(DataError, match="image None of 0"):
        source.picture()


def test_only_the_image_that_is_asked_for_is_read(tmp_path):
    """A sparse file of 3 GB, of which a MB is read."""
    path = tmp_path / "images.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(3000, 1000, 1000))
    array[2999, 5, 7] = 9
    del array
    source = open_source(path)
    assert isinstance(source.array, np.memmap)
    found = source.picture(2999).values
    assert found[5, 7] == 9
    assert found.sum() == 9


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_the_hash_is_of_one_image_and_not_of_the_file(tmp_path, kind):
    array = values((4, 6, 5))
    array[3] = array[1]
    source = open_source(saved(tmp_path, array, kind))
    found = [source.sha256(number) for number in range(4)]
    assert found == [hashlib.sha256(image.tobytes()).hexdigest() for image in array]
    assert found[3] == found[1]
    assert len(set(found)) == 3
    assert ArrayFile(array[2]).sha256() == found[2]


def test_the_hash_does_not_depend_on_the_layout_in_the_file():
    array = values((3, 6, 5))
    turned = ArrayFile(np.asfortranarray(array))
    assert [turned.sha256(i) for i in range(3)] == [ArrayFile(array).sha256(i) for i in range(3)]


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_an_hdf5_file_of_no_or_several_data_sets_is_refused(tmp_path, names):
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        for name in names:
            file[name] = values((2, 3, 3))
        file.create_group("more")["inner"] = values((2, 3, 3))
    with pytest.raises(
        DataError, match=r"an HDF5 file with the data sets \[.*\]; allowed: exactly one"
    ):
        open_source(path)


def test_the_one_data_set_beside_groups_is_read(tmp_path):
    array = values((2, 3, 3))
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_group("notes")
        file["x"] = array
    np.testing.assert_array_equal(open_source(tmp_path / "images.h5").picture(1).values, array[1])


@pytest.mark.parametrize("name", ["folder", "folder.npy", "folder.h5", "folder.dcm"])
def test_a_folder_is_no_file(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match="is a folder"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["absent.npy", "absent.h5", "absent.png"])
def test_a_file_that_is_not_there_is_named_so(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        open_source(tmp_path / name)
