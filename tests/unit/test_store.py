"""The pixel store: what is kept, what is rejected and why, and that no name gets in."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data import store
from medtransfer.data.embedded.dicom_writer import Acquisition, write_dicom
from medtransfer.data.manifest import read_manifest
from medtransfer.data.privacy import keyed_hash
from medtransfer.data.store import REJECTED, SAMPLES, build_store
from medtransfer.data.workers import supervised_map
from medtransfer.errors import DataError

KEY = bytes(range(32))
SIDE = 8
FILES = {"images.npy", "samples.parquet", "rejected.parquet"}


def settings(**keys: Any) -> DatasetSettings:
    default = {"task": "binary", "labels": "y", "classes": ["a", "b"], "manifest": "m"}
    geometry = {"image_size": SIDE, "channels": 1}
    return parse(DatasetSettings, {**default, **geometry, **keys}, "d.yaml")


def draw(folder: Path, count: int) -> list[Path]:
    """Grey noise as PNG files of the store's own size."""
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:03d}.png")
        values = generator.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
        Image.fromarray(values).save(paths[-1])
    return paths


def manifest(paths: list[Path], **columns: Any) -> pd.DataFrame:
    """A table as read_manifest makes it; every second image is of class b, two a patient."""
    rows = np.arange(len(paths))
    default = {
        "manifest_row": rows,
        "file": [str(path) for path in paths],
        "frame": -1,
        "patient": [f"P{row // 2}" for row in rows],
        "site": None,
        "published_part": None,
        "label": rows % 2,
    }
    return pd.DataFrame({**default, **columns})


def pillow(paths: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in paths])[..., None]


def requested(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that are asked of the decoding processes from now on."""
    rows: list[int] = []

    def spied(task: Any, requests: Any, processes: int) -> Any:
        requests = list(requests)
        rows.extend(request.row for request in requests)
        return supervised_map(task, requests, processes)

    monkeypatch.setattr(store, "supervised_map", spied)
    return rows


def read_store(folder: Path) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    return (
        np.load(folder / "images.npy"),
        pd.read_parquet(folder / "samples.parquet"),
        pd.read_parquet(folder / "rejected.parquet"),
    )


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A hundred image files: 7 corrupt, 31 truncated, 58 a text, 99 missing."""
    paths = draw(tmp_path_factory.mktemp("damaged"), 100)
    whole = paths[7].read_bytes()
    data = whole.index(b"IDAT") + 4
    paths[7].write_bytes(whole[:data] + bytes(20) + whole[data + 20 :])
    paths[31].write_bytes(paths[31].read_bytes()[:-45])
    paths[58].write_text("not an image, but a letter\n" * 10)
    paths[99].unlink()
    return paths


BAD = [7, 31, 58, 99]


def test_unreadable_files_cost_their_own_rows_and_are_named_with_stage_and_reason(damaged, tmp_path):
    build_store(manifest(damaged), settings(max_rejected=0.1), KEY, tmp_path / "store")
    _, samples, rejected = read_store(tmp_path / "store")
    assert {p.name for p in (tmp_path / "store").iterdir()} == FILES
    assert samples["manifest_row"].tolist() == [row for row in range(100) if row not in BAD]
    REJECTED.check(rejected)
    assert rejected["manifest_row"].tolist() == BAD
    assert rejected["file"].tolist() == [str(damaged[row]) for row in BAD]
    assert rejected["stage"].tolist() == ["decode", "decode", "decode", "read"]
    words = ["broken|corrupt|decoder error", "truncated", "not an image", "No such file"]
    assert rejected["reason"].str.contains("|".join(words)).all()
    for word, reason in zip(words, rejected["reason"], strict=True):
        assert pd.Series(reason).str.contains(word).all(), reason


def test_the_memory_map_holds_exactly_what_pillow_decodes_of_the_accepted_files(damaged, tmp_path):
    build_store(manifest(damaged), settings(max_rejected=0.1), KEY, tmp_path)
    images, samples, _ = read_store(tmp_path)
    good = [path for row, path in enumerate(damaged) if row not in BAD]
    expected = pillow(good)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, expected)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in good]
    assert samples["sha256"].tolist() == digests
    pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert samples["pixel_sha256"].tolist() == pixels


def test_one_and_two_workers_write_identical_files(damaged, tmp_path):
    for workers in (1, 2):
        build_store(
            manifest(damaged), settings(max_rejected=0.1), KEY, tmp_path / str(workers), workers
        )
    for name in FILES:
        one, two = (tmp_path / number / name for number in "12")
        assert one.read_bytes() == two.read_bytes(), name
    assert {p.name for p in (tmp_path / "2").iterdir()} == FILES


def test_a_manifest_without_damage_is_kept_whole(tmp_path):
    paths = draw(tmp_path, 5)
    build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    images, samples, rejected = read_store(tmp_path / "store")
    assert len(images) == len(samples) == 5
    assert rejected.empty
    assert list(rejected) == list(REJECTED.columns)
    assert {p.name for p in (tmp_path / "store").iterdir()} == FILES


def test_channels_and_geometry_are_those_of_the_settings(tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((4, 8), 200, dtype=np.uint8)).save(path)
    for geometry, filled in (("pad", 32), ("crop", 64), ("stretch", 64)):
        chosen = settings(channels=3, geometry=geometry)
        build_store(manifest([path]), chosen, KEY, tmp_path / geometry)
        images = np.load(tmp_path / geometry / "images.npy")
        assert images.shape == (1, SIDE, SIDE, 3)
        assert (images == 200).sum() == filled * 3


def test_one_frame_of_several_is_stored_for_each_row(tmp_path):
    path = tmp_path / "x.dcm"
    acquisition = Acquisition(ExplicitVRLittleEndian, 8, False, 1.0, 0.0, True)
    pair = np.concatenate([np.full((SIDE, SIDE), 0.2), np.full((SIDE, SIDE), 0.8)])
    write_dicom(path, pair, acquisition, ("A", "B", "F", 1), np.random.default_rng(0))
    content = path.read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00"
    count = b"\x28\x00\x08\x00IS\x02\x002 "
    path.write_bytes(content.replace(rows + b"\x10\x00", count + rows + b"\x08\x00"))
    build_store(manifest([path, path], frame=[1, 0]), settings(), KEY, tmp_path / "store")
    images, samples, _ = read_store(tmp_path / "store")
    assert [int(image.mean()) for image in images] == [204, 51]
    assert samples["image_id"].nunique() == 2


# how much may be rejected


def test_too_many_rejected_images_stop_the_run_with_counts_reason_and_first_file(tmp_path):
    paths = draw(tmp_path, 10)
    for row in (3, 6):
        paths[row].write_text("text\n" * 40)
    with pytest.raises(DataError, match=r"2 of 10 images could not be used \(20\.0%; ") as caught:
        build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    message = str(caught.value)
    assert "'max_rejected' allows 1.0%" in message
    assert "Most often: decode: not an image: no known format (2 images)" in message
    lines = message.splitlines()[1:]
    assert lines == [f"  {paths[row]}: decode: not an image: no known format" for row in (3, 6)]
    rejected = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    assert rejected["manifest_row"].tolist() == [3, 6]


def test_a_run_that_stops_goes_on_when_the_files_are_mended(tmp_path, monkeypatch):
    paths = draw(tmp_path, 4)
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[:-40])
    with pytest.raises(DataError, match="1 of 4"):
        build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    assert not (tmp_path / "store" / "images.npy").exists()
    paths[0].write_bytes(whole)
    asked = requested(monkeypatch)
    build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    assert asked == [0]
    np.testing.assert_array_equal(read_store(tmp_path / "store")[0], pillow(paths))
    assert {p.name for p in (tmp_path / "store").iterdir()} == FILES


def test_the_allowed_share_of_rejected_images_is_itself_allowed(tmp_path):
    paths = draw(tmp_path, 10)
    paths[4].unlink()
    build_store(manifest(paths), settings(max_rejected=0.1), KEY, tmp_path / "store")
    assert len(np.load(tmp_path / "store" / "images.npy")) == 9
    with pytest.raises(DataError, match="1 of 10"):
        build_store(manifest(paths), settings(max_rejected=0.09), KEY, tmp_path / "other")


def test_a_manifest_of_which_nothing_can_be_read_stops_the_run(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(DataError, match=r"2 of 2 .*100\.0%.*read: No such file or directory \(2"):
        build_store(manifest(paths), settings(max_rejected=1.0), KEY, tmp_path / "store")


def test_rows_without_a_label_are_rejected_without_being_opened(tmp_path):
    paths = [*draw(tmp_path, 3), tmp_path / "not there.png"]
    table = manifest(paths, label=[0, -1, 1, -1])
    build_store(table, settings(max_rejected=0.5), KEY, tmp_path / "store")
    _, samples, rejected = read_store(tmp_path / "store")
    assert samples["manifest_row"].tolist() == [0, 2]
    assert samples["label"].tolist() == [0, 1]
    assert rejected["manifest_row"].tolist() == [1, 3]
    assert set(rejected["stage"]) == {"manifest"}
    assert set(rejected["reason"]) == {"no label"}


def test_rejected_images_are_listed_in_the_order_of_the_manifest(tmp_path):
    paths = draw(tmp_path, 6)
    paths[1].unlink()
    paths[4].write_text("text")
    table = manifest(paths, label=[0, 1, -1, 1, 0, -1])
    build_store(table, settings(max_rejected=0.9), KEY, tmp_path / "store")
    _, _, rejected = read_store(tmp_path / "store")
    assert rejected["manifest_row"].tolist() == [1, 2, 4, 5]
    assert rejected["stage"].tolist() == ["read", "manifest", "decode", "manifest"]


def test_one_of_several_labels_is_enough(tmp_path):
    nothing = float("nan")
    table = manifest(draw(tmp_path, 3)).drop(columns="label")
    table["label_u"], table["label_v"] = [1.0, nothing, nothing], [0.0, 0.0, nothing]
    chosen = settings(task="multilabel", labels=["u", "v"], classes=[], max_rejected=0.5)
    build_store(table, chosen, KEY, tmp_path / "store")
    _, samples, rejected = read_store(tmp_path / "store")
    SAMPLES.check(samples)
    np.testing.assert_array_equal(samples["label_u"], [1.0, nothing])
    np.testing.assert_array_equal(samples["label_v"], [0.0, 0.0])
    assert rejected["manifest_row"].tolist() == [2]


# killed and resumed


SLOW_JOB = """
import pickle, sys, time
from pathlib import Path
from medtransfer.data import store
from medtransfer.data.workers import supervised_map

def slowly(task, requests, processes):
    for number, answer in enumerate(supervised_map(task, requests, processes)):
        yield answer
        if number == 20:
            print("half-way", flush=True)
            time.sleep(60)

store.supervised_map = slowly
if __name__ == "__main__":
    table, dataset, key, folder = pickle.loads(Path(sys.argv[1]).read_bytes())
    store.build_store(table, dataset, key, folder, 2)
"""


def killed_store(tmp_path: Path, table: pd.DataFrame) -> Path:
    """A store whose job was killed when 21 images were noted as done."""
    folder = tmp_path / "store"
    (tmp_path / "job.py").write_text(SLOW_JOB)
    (tmp_path / "job").write_bytes(pickle.dumps((table, settings(), KEY, folder)))
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path / "job")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "half-way\n"
        job.send_signal(signal.SIGKILL)
    assert not (folder / "images.npy").exists()
    return folder


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw(tmp_path_factory.mktemp("forty"), 40)


def test_a_killed_job_goes_on_where_it_was(forty, tmp_path, monkeypatch):
    folder = killed_store(tmp_path, manifest(forty))
    asked, told = requested(monkeypatch), []
    build_store(manifest(forty), settings(), KEY, folder, report=told.append)
    assert len(asked) == 40 - 21
    assert told[0] == "21 images of an earlier job are kept"
    images, _, rejected = read_store(folder)
    np.testing.assert_array_equal(images, pillow(forty))
    build_store(manifest(forty), settings(), KEY, tmp_path / "undisturbed")
    assert rejected.empty
    for name in FILES:
        assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert {p.name for p in folder.iterdir()} == FILES


def test_pixels_that_are_not_what_the_journal_says_are_decoded_again(forty, tmp_path, monkeypatch):
    folder = killed_store(tmp_path, manifest(forty))
    done = {json.loads(line)["row"] for line in journal(folder)[1:]}
    spoilt = min(done)
    images = np.lib.format.open_memmap(folder / ".images.npy.part", mode="r+")
    images[spoilt] ^= 1
    images.flush()
    del images
    asked = requested(monkeypatch)
    build_store(manifest(forty), settings(), KEY, folder)
    assert sorted(asked) == sorted(set(range(40)) - done | {spoilt})
    np.testing.assert_array_equal(read_store(folder)[0], pillow(forty))


def journal(folder: Path) -> list[str]:
    return (folder / ".images.journal").read_text().splitlines()


def test_a_journal_whose_last_line_is_cut_is_believed_up_to_there(forty, tmp_path, monkeypatch):
    folder = killed_store(tmp_path, manifest(forty))
    path = folder / ".images.journal"
    path.write_text(path.read_text()[:-30])
    asked = requested(monkeypatch)
    build_store(manifest(forty), settings(), KEY, folder)
    assert len(asked) == 40 - 20
    np.testing.assert_array_equal(read_store(folder)[0], pillow(forty))


@pytest.mark.parametrize("kept", [0, 10, 40])
def test_a_journal_whose_first_line_is_cut_is_not_believed(forty, tmp_path, monkeypatch, kept):
    folder = killed_store(tmp_path, manifest(forty))
    path = folder / ".images.journal"
    path.write_text(path.read_text()[:kept])
    asked = requested(monkeypatch)
    build_store(manifest(forty), settings(), KEY, folder)
    assert asked == list(range(40))
    np.testing.assert_array_equal(read_store(folder)[0], pillow(forty))


def test_files_that_changed_since_are_decoded_again(tmp_path, monkeypatch):
    paths = draw(tmp_path, 40)
    folder = killed_store(tmp_path, manifest(paths))
    done = {json.loads(line)["row"] for line in journal(folder)[1:]}
    for path in paths:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    asked = requested(monkeypatch)
    build_store(manifest(paths), settings(), KEY, folder)
    assert done
    assert asked == list(range(40))
    np.testing.assert_array_equal(read_store(folder)[0], pillow(paths))


@pytest.mark.parametrize(
    ("keys", "key", "count"),
    [({"geometry": "crop"}, KEY, 40), ({"bits": 16}, KEY, 40), ({}, b"another key", 40), ({}, KEY, 39)],
    ids=["geometry", "bits", "key", "manifest"],
)
def test_a_job_of_another_kind_starts_anew(forty, tmp_path, monkeypatch, keys, key, count):
    folder = killed_store(tmp_path, manifest(forty))
    asked = requested(monkeypatch)
    build_store(manifest(forty[:count]), settings(**keys), key, folder)
    assert asked == list(range(count))
    assert len(read_store(folder)[0]) == count


def test_a_full_disk_is_noticed_before_anything_is_decoded(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(DataError, match=r"the store needs 0\.00 GiB; the disk has 0\.00 GiB free"):
        build_store(manifest(draw(tmp_path, 3)), settings(), KEY, tmp_path / "store")


# frames, depth, headers


def multi_frame(path: Path, frames: np.ndarray, **tags: Any) -> None:
    """A DICOM file of 8-bit frames, N x H x W."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.NumberOfFrames = len(frames)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OB"
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def test_all_frames_become_rows_of_their_own(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE)).astype(np.uint8)
    multi_frame(tmp_path / "five.dcm", frames)
    single = draw(tmp_path, 1)
    paths = [tmp_path / "five.dcm", *single, tmp_path / "missing.dcm"]
    chosen = settings(all_frames=True, max_rejected=0.5)
    build_store(manifest(paths), chosen, KEY, tmp_path / "store", 2)
    images, samples, rejected = read_store(tmp_path / "store")
    np.testing.assert_array_equal(images[:5, ..., 0], frames)
    np.testing.assert_array_equal(images[5:], pillow(single))
    assert samples["manifest_row"].tolist() == [0] * 5 + [1]
    assert samples["frame"].tolist() == [0, 1, 2, 3, 4, -1]
    assert samples["image_id"].nunique() == 6
    assert samples["patient"].nunique() == 1
    assert rejected["manifest_row"].tolist() == [2]


def test_sixteen_bits_keep_what_eight_would_round_away(tmp_path):
    values = np.linspace(20000, 20100, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    np.save(tmp_path / "one.npy", values.astype(np.float32) / 65535)
    generator = np.random.default_rng(0)
    acquisition = Acquisition(ExplicitVRLittleEndian, 16, False, 1.0, 0.0, True)
    brightness = values / 65535
    write_dicom(tmp_path / "x.dcm", brightness, acquisition, ("A", "B", "F", 1), generator)
    table = manifest([tmp_path / "x.dcm"])
    for bits in (8, 16):
        build_store(table, settings(bits=bits), KEY, tmp_path / str(bits))
    eight, sixteen = (np.load(tmp_path / b / "images.npy")[0, ..., 0] for b in ("8", "16"))
    assert (eight.dtype, sixteen.dtype) == (np.uint8, np.uint16)
    assert len(np.unique(eight)) == 1
    np.testing.assert_allclose(sixteen, brightness * 65535, atol=1)


def test_header_facts_are_kept_and_identities_hashed(tmp_path):
    frames = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
    frames[0, 0] = 255
    facts = {"PatientID": "P-1", "StudyInstanceUID": "1.2.3", "BurnedInAnnotation": "YES"}
    multi_frame(tmp_path / "a.dcm", frames, **facts)
    multi_frame(tmp_path / "b.dcm", frames, PatientID="P-1", BurnedInAnnotation="NO")
    multi_frame(tmp_path / "c.dcm", frames, WindowCenter=128, WindowWidth=256)
    paths = [*(tmp_path / f"{name}.dcm" for name in "abc"), *draw(tmp_path, 1)]
    table = manifest(paths, patient=None)
    build_store(table, settings(patient_in_header=True), KEY, tmp_path / "store")
    _, samples, _ = read_store(tmp_path / "store")
    one = keyed_hash(KEY, "P-1")
    assert samples["header_patient"].tolist() == [one, one, "", ""]
    assert samples["header_study"].tolist() == [keyed_hash(KEY, "1.2.3"), "", "", ""]
    assert samples["burned_in"].tolist() == ["yes", "no", "", ""]
    assert samples["display"].tolist() == ["full range", "full range", "window", "full range"]
    assert samples["patient"].tolist() == [one, one, *samples["image_id"][2:]]


# tables


def test_the_samples_hold_hashes_labels_groups_and_sites(tmp_path):
    paths = draw(tmp_path, 4)
    columns = {
        "patient": ["P1", "P1", None, "P2"],
        "site": ["A", None, "B", "B"],
        "published_part": ["train", "test", None, "validation"],
        "group_sex": ["F", None, "M", "M"],
    }
    build_store(manifest(paths, **columns), settings(), KEY, tmp_path / "store")
    _, samples, _ = read_store(tmp_path / "store")
    SAMPLES.check(samples)
    ids = [keyed_hash(KEY, f"{path}#-1") for path in paths]
    one, two = keyed_hash(KEY, "P1"), keyed_hash(KEY, "P2")
    assert samples["image_id"].tolist() == ids
    assert samples["patient"].tolist() == [one, one, ids[2], two]
    assert samples["label"].tolist() == [0, 1, 0, 1]
    for name in ("site", "published_part", "group_sex"):
        found = [None if pd.isna(value) else value for value in samples[name]]
        assert found == columns[name]


def test_another_key_gives_other_patients(tmp_path):
    paths = draw(tmp_path, 4)
    for key in (b"one", b"two"):
        build_store(manifest(paths), settings(), key, tmp_path / key.decode())
    one, two = (pd.read_parquet(tmp_path / k / "samples.parquet") for k in ("one", "two"))
    assert not set(one["patient"]) & set(two["patient"])
    assert one["patient"].nunique() == two["patient"].nunique() == 2
    assert one["sha256"].tolist() == two["sha256"].tolist()


def test_a_store_may_be_built_again_in_its_place(tmp_path):
    paths = draw(tmp_path, 6)
    build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    build_store(manifest(paths[:2]), settings(), KEY, tmp_path / "store")
    images, samples, _ = read_store(tmp_path / "store")
    assert len(images) == len(samples) == 2
    assert {p.name for p in (tmp_path / "store").iterdir()} == FILES


# privacy


NAMES = ["Quixano^Alonso", "Quixano", "Alonso", "MRN-7741-A", "MRN-7741", "041Y"]


def tagged(folder: Path) -> pd.DataFrame:
    """DICOM files of one named patient, one of them damaged, and their manifest as a user has it."""
    generator = np.random.default_rng(0)
    for number in range(6):
        syntax = JPEG2000Lossless if number % 2 else ExplicitVRLittleEndian
        acquisition = Acquisition(syntax, 12, bool(number % 2), 1.0, 0.0, True)
        name = folder / ("damaged.dcm" if number == 5 else f"MRN-7741-A_Quixano_{number}.dcm")
        identity = ("Quixano^Alonso", "MRN-7741-A", "M", 41)
        write_dicom(name, generator.random((32, 32)), acquisition, identity, generator)
    content = (folder / "damaged.dcm").read_bytes()
    (folder / "damaged.dcm").write_bytes(content[:-300])
    files = sorted(path.name for path in folder.glob("*.dcm"))
    raw = pd.DataFrame({"image": files, "person": "MRN-7741-A", "name": "Quixano^Alonso"})
    raw["y"] = ["a", "b"] * 3
    raw.to_csv(folder / "manifest.csv", index=False)
    return raw


def test_no_name_and_no_patient_id_is_in_any_byte_of_the_store(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    raw = tagged(folder)
    chosen = settings(patient="person", image_size=16, max_rejected=0.5)
    table = read_manifest(folder / "manifest.csv", chosen)
    build_store(table, chosen, KEY, tmp_path / "store")
    images, samples, rejected = read_store(tmp_path / "store")
    assert len(images) == 5
    assert rejected["file"].tolist() == [str(folder / "damaged.dcm")]
    # the search finds the names where they are
    headers = b"".join((folder / name).read_bytes() for name in raw["image"])
    assert all(name.encode() in headers for name in NAMES)
    assert "MRN-7741-A" in table.to_csv()
    written = b"".join(path.read_bytes() for path in (tmp_path / "store").iterdir())
    decoded = samples.to_csv() + rejected.to_csv()
    for name in NAMES:
        assert name.encode() not in written
        assert name not in decoded


def test_an_unsalted_hash_of_a_patient_id_is_not_stored_either(tmp_path):
    build_store(manifest(draw(tmp_path, 4)), settings(), KEY, tmp_path / "store")
    _, samples, _ = read_store(tmp_path / "store")
    for algorithm in ("md5", "sha1", "sha256"):
        plain = hashlib.new(algorithm, b"P0").hexdigest()[:16]
        assert plain not in set(samples["patient"])
    assert keyed_hash(KEY, "P0") in set(samples["patient"])


@pytest.mark.parametrize(
    ("element", "damaged"),
    [
        (b"DS\x04\x002.0 ", b"DS\x08\x00Quixano "),
        (b"DS\x0a\x00511\\255.5 ", b"DS\x08\x00Quixano "),
        (b"MONOCHROME2 ", b"Quixano     "),
    ],
    ids=["slope", "window", "photometric"],
)
def test_a_reason_does_not_quote_the_header_of_a_damaged_file(tmp_path, element, damaged):
    """A shifted header can put a name where something else is read; decoders quote it."""
    path = tmp_path / "x.dcm"
    acquisition = Acquisition(ExplicitVRLittleEndian, 8, False, 2.0, 0.0, True)
    picture = np.zeros((SIDE, SIDE))
    write_dicom(path, picture, acquisition, ("A", "B", "F", 1), np.random.default_rng(0))
    content = path.read_bytes()
    assert content.count(element) == 1
    path.write_bytes(content.replace(element, damaged))
    table = manifest([path, *draw(tmp_path, 1)])
    build_store(table, settings(max_rejected=0.5), KEY, tmp_path / "store")
    _, _, rejected = read_store(tmp_path / "store")
    assert rejected["stage"].tolist() == ["decode"]
    assert "Quixano" not in rejected["reason"].iloc[0]
