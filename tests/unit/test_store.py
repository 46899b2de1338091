"""The pixel store: what is kept, what is rejected and why, and that no name gets in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data.embedded.dicom_writer import Acquisition, write_dicom
from medtransfer.data.manifest import read_manifest
from medtransfer.data.privacy import keyed_hash
from medtransfer.data.store import REJECTED, SAMPLES, build_store
from medtransfer.errors import DataError

KEY = bytes(range(32))
SIDE = 8
FILES = {"images.npy", "samples.parquet", "rejected.parquet", "audit.json"}


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


def read_store(folder: Path) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    return (
        np.load(folder / "images.npy"),
        pd.read_parquet(folder / "samples.parquet"),
        pd.read_parquet(folder / "rejected.parquet"),
        json.loads((folder / "audit.json").read_text()),
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
    build_store(manifest(damaged), settings(), KEY, tmp_path / "store")
    _, samples, rejected, _ = read_store(tmp_path / "store")
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
    build_store(manifest(damaged), settings(), KEY, tmp_path)
    images, samples, _, _ = read_store(tmp_path)
    good = [path for row, path in enumerate(damaged) if row not in BAD]
    expected = np.stack([np.asarray(Image.open(path)) for path in good])[..., None]
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, expected)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in good]
    assert samples["sha256"].tolist() == digests
    pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert samples["pixel_sha256"].tolist() == pixels


def test_one_and_two_workers_write_identical_files(damaged, tmp_path):
    for workers in (1, 2):
        build_store(manifest(damaged), settings(), KEY, tmp_path / str(workers), workers)
    for name in FILES:
        one, two = (tmp_path / number / name for number in "12")
        assert one.read_bytes() == two.read_bytes(), name
    assert {p.name for p in (tmp_path / "2").iterdir()} == FILES


def test_a_manifest_without_damage_is_kept_whole(tmp_path):
    paths = draw(tmp_path, 5)
    build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    images, samples, rejected, audit = read_store(tmp_path / "store")
    assert len(images) == len(samples) == audit["images"] == 5
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
    images, samples, _, _ = read_store(tmp_path / "store")
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
    assert "'max_rejected' allows 10.0%" in message
    assert "Most often: decode: not an image: no known format (2 images)" in message
    assert message.endswith(f"First: {paths[3]}")
    rejected = pd.read_parquet(tmp_path / "store" / "rejected.parquet")
    assert rejected["manifest_row"].tolist() == [3, 6]


def test_a_run_that_stops_leaves_no_pixels_behind(tmp_path):
    paths = draw(tmp_path, 4)
    paths[0].unlink()
    with pytest.raises(DataError, match="1 of 4"):
        build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["rejected.parquet"]


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
    _, samples, rejected, _ = read_store(tmp_path / "store")
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
    _, _, rejected, _ = read_store(tmp_path / "store")
    assert rejected["manifest_row"].tolist() == [1, 2, 4, 5]
    assert rejected["stage"].tolist() == ["read", "manifest", "decode", "manifest"]


def test_one_of_several_labels_is_enough(tmp_path):
    nothing = float("nan")
    table = manifest(draw(tmp_path, 3)).drop(columns="label")
    table["label_u"], table["label_v"] = [1.0, nothing, nothing], [0.0, 0.0, nothing]
    chosen = settings(task="multilabel", labels=["u", "v"], classes=[], max_rejected=0.5)
    build_store(table, chosen, KEY, tmp_path / "store")
    _, samples, rejected, audit = read_store(tmp_path / "store")
    SAMPLES.check(samples)
    np.testing.assert_array_equal(samples["label_u"], [1.0, nothing])
    np.testing.assert_array_equal(samples["label_v"], [0.0, 0.0])
    assert rejected["manifest_row"].tolist() == [2]
    assert audit["classes"] == {"u": 1, "v": 0}


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
    _, samples, _, _ = read_store(tmp_path / "store")
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


def test_the_audit_counts_images_patients_rejects_classes_and_sites(damaged, tmp_path):
    site = ["A"] * 60 + ["B"] * 40
    build_store(manifest(damaged, site=site), settings(), KEY, tmp_path)
    _, _, _, audit = read_store(tmp_path)
    reasons = audit.pop("rejected_reasons")
    assert audit == {
        "images": 96,
        "patients": 50,
        "rejected": 4,
        "classes": {"a": 49, "b": 47},
        "sites": {"A": 57, "B": 39},
    }
    assert sum(reasons.values()) == 4
    assert reasons["read: No such file or directory"] == 1
    assert reasons["decode: not an image: no known format"] == 1


def test_the_audit_names_classes_that_have_no_image(tmp_path):
    chosen = settings(task="multiclass", classes=["a", "b", "c"])
    build_store(manifest(draw(tmp_path, 3)), chosen, KEY, tmp_path / "store")
    assert read_store(tmp_path / "store")[3]["classes"] == {"a": 2, "b": 1, "c": 0}


def test_a_store_may_be_built_again_in_its_place(tmp_path):
    paths = draw(tmp_path, 6)
    build_store(manifest(paths), settings(), KEY, tmp_path / "store")
    build_store(manifest(paths[:2]), settings(), KEY, tmp_path / "store")
    images, samples, _, audit = read_store(tmp_path / "store")
    assert len(images) == len(samples) == audit["images"] == 2
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
    images, samples, rejected, _ = read_store(tmp_path / "store")
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
    _, samples, _, _ = read_store(tmp_path / "store")
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
    _, _, rejected, audit = read_store(tmp_path / "store")
    assert rejected["stage"].tolist() == ["decode"]
    assert "Quixano" not in rejected["reason"].iloc[0]
    assert "Quixano" not in json.dumps(audit)
