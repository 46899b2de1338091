"""Adapters whose labels are folders, file names, arrays or XML: each on a small copy of the layout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_adapters import adapted, csv_lines, place, read_as_shipped, write

from medtransfer.data.adapters.radiographs import kermany_patients
from medtransfer.errors import DataError

REAL = Path(os.environ.get("MEDTRANSFER_REAL_DATA", "absent"))
FOLDS = REAL / "published" / "revisiting_transfer" / "data"
real = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL.is_dir(), reason="MEDTRANSFER_REAL_DATA is no folder"),
]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


# folders of classes


def test_class_folders_take_the_folder_for_the_label_at_any_depth(tmp_path):
    place(
        tmp_path,
        "MedNIST/HeadCT/000002.jpeg",
        "MedNIST/HeadCT/deep/000001.JPEG",
        "MedNIST/Hand/000001.jpeg",
        "MedNIST/Hand/.hidden.jpeg",
        "MedNIST/Hand/notes.txt",
        "MedNIST/README.md",
    )
    table = unnumbered(adapted(tmp_path, "class_folders", subset="MedNIST"))
    assert csv_lines(table) == [
        "image,label",
        "MedNIST/Hand/000001.jpeg,Hand",
        "MedNIST/HeadCT/000002.jpeg,HeadCT",
        "MedNIST/HeadCT/deep/000001.JPEG,HeadCT",
    ]
    assert read_as_shipped(table, tmp_path, "mednist")["label"].tolist() == [4, 5, 5]


def unnumbered(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="class_index")


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path):
    place(tmp_path, "train/n02/1.JPEG", "train/n01/2.JPEG", "val/n10/3.JPEG")
    table = adapted(tmp_path, "class_folders")
    assert dict(zip(table["label"], table["class_index"], strict=True)) == {
        "n01": "0", "n02": "1", "n10": "2",
    }  # fmt: skip


def test_class_folders_know_a_level_of_parts(tmp_path):
    place(tmp_path, "train/cat/1.png", "val/cat/2.png", "Test/dog/3.png")
    assert csv_lines(unnumbered(adapted(tmp_path, "class_folders"))) == [
        "image,label,split",
        "Test/dog/3.png,dog,test",
        "train/cat/1.png,cat,train",
        "val/cat/2.png,cat,validation",
    ]


def test_a_class_that_is_called_test_is_no_part_beside_other_classes(tmp_path):
    place(tmp_path, "test/inner/1.png", "control/2.png")
    assert csv_lines(unnumbered(adapted(tmp_path, "class_folders")))[1:] == [
        "control/2.png,control",
        "test/inner/1.png,test",
    ]


def test_class_folders_without_images_are_an_error(tmp_path):
    place(tmp_path, "cats/readme.txt")
    with pytest.raises(DataError, match=r"found cats; expected folders of images, one a class"):
        adapted(tmp_path, "class_folders")


RADIMAGENET = (
    "radiology_ai/CT/abd/normal/abd-1.png",
    "radiology_ai/MR/knee/acl_pathology/a-2.png",
    "radiology_ai/US/gb/us-3.png",
)


def test_radimagenet_reads_the_owners_tables(tmp_path):
    for part, name, label in zip(
        ("train", "val", "test"), RADIMAGENET, ("normal", "acl", "gb"), strict=True
    ):
        write(tmp_path, f"RadiologyAI_{part}.csv", "filename,label", f"{name},{label}")
    table = adapted(tmp_path, "radimagenet")
    assert csv_lines(unnumbered(table)) == [
        "image,label,pathology,modality,anatomy,split",
        f"{RADIMAGENET[0]},CT/abd/normal,normal,CT,abd,train",
        f"{RADIMAGENET[1]},MR/knee/acl_pathology,acl,MR,knee,validation",
        f"{RADIMAGENET[2]},US/gb,gb,US,,test",
    ]
    assert read_as_shipped(table, tmp_path, "radimagenet")["label"].tolist() == [0, 1, 2]


def test_radimagenet_lists_its_folders_where_the_tables_are_not(tmp_path):
    place(tmp_path, *RADIMAGENET)
    assert csv_lines(unnumbered(adapted(tmp_path, "radimagenet", subset="radiology_ai"))) == [
        "image,label,pathology,modality,anatomy",
        f"{RADIMAGENET[0]},CT/abd/normal,normal,CT,abd",
        f"{RADIMAGENET[1]},MR/knee/acl_pathology,acl_pathology,MR,knee",
        f"{RADIMAGENET[2]},US/gb,gb,US,",
    ]
    with pytest.raises(DataError, match=r"found radiology_ai; expected RadiologyAI_train.csv or"):
        adapted(tmp_path, "radimagenet")


# ultrasound


def test_busi_leaves_out_masks_and_counts_normal_as_benign(tmp_path):
    outer = "Dataset_BUSI_with_GT"
    place(
        tmp_path,
        f"{outer}/benign/benign (1).png",
        f"{outer}/benign/benign (1)_mask.png",
        f"{outer}/benign/benign (10).png",
        f"{outer}/benign/benign (10)_mask.png",
        f"{outer}/benign/benign (10)_mask_1.png",
        f"{outer}/malignant/malignant (1).png",
        f"{outer}/malignant/malignant (1)_mask.png",
        f"{outer}/normal/normal (1).png",
        f"{outer}/normal/normal (1)_mask.png",
    )
    table = adapted(tmp_path, "busi")
    assert csv_lines(table) == [
        "image,label,binary",
        f"{outer}/benign/benign (1).png,benign,benign",
        f"{outer}/benign/benign (10).png,benign,benign",
        f"{outer}/malignant/malignant (1).png,malignant,malignant",
        f"{outer}/normal/normal (1).png,normal,benign",
    ]
    assert read_as_shipped(table, tmp_path, "busi")["label"].tolist() == [0, 0, 1, 0]
    assert len(adapted(tmp_path / outer, "busi")) == 4


def test_busi_misses_an_absent_class(tmp_path):
    place(tmp_path, "benign/benign (1).png", "malignant/malignant (1).png")
    with pytest.raises(DataError, match=r"normal: found no such folder; expected 'normal \(1\)\.png'"):
        adapted(tmp_path, "busi")


def ddti_case(tirads: str, *marks: str) -> str:
    marked = "".join(f"<mark><image>{mark}</image><svg>[]</svg></mark>" for mark in marks)
    return f"<case><number>1</number><age>40</age><sex>F</sex><tirads>{tirads}</tirads>{marked}</case>"


def test_ddti_is_malignant_from_4a_on_and_has_a_row_for_each_image(tmp_path):
    write(tmp_path, "1.xml", ddti_case("4A", "1", "1", "2"))
    write(tmp_path, "10.xml", ddti_case("3", "1"))
    write(tmp_path, "2.xml", ddti_case("", "1"))
    write(tmp_path, "3.xml", "<case><number>3</number></case>")
    place(tmp_path, "1_1.jpg", "10_1.jpg", "10_2.jpg", "2_1.jpg", "3_1.jpg", "99_1.jpg")
    table = adapted(tmp_path, "ddti")
    assert csv_lines(table) == [
        "image,label,tirads,patient,sex,age",
        "10_1.jpg,benign,3,10,F,40",
        "10_2.jpg,benign,3,10,F,40",
        "1_1.jpg,malignant,4a,1,F,40",
        "1_2.jpg,malignant,4a,1,F,40",  # marked, though there is no such file
        "2_1.jpg,,,2,F,40",
        "3_1.jpg,,,3,,",
    ]
    assert read_as_shipped(table, tmp_path, "ddti")["label"].tolist() == [0, 0, 1, 1, -1, -1]


def test_ddti_refuses_an_unknown_score_and_what_is_no_xml(tmp_path):
    write(tmp_path, "1.xml", ddti_case("7", "1"))
    with pytest.raises(DataError, match=r"1\.xml: tirads is '7'; expected 1, 2"):
        adapted(tmp_path, "ddti")
    write(tmp_path, "1.xml", "<case>")
    with pytest.raises(DataError, match=r"1\.xml: not the XML of a case"):
        adapted(tmp_path, "ddti")


# Kermany's chest radiographs


def test_kermany_tells_patient_and_kind_by_the_name(tmp_path):
    outer = "chest_xray"
    place(
        tmp_path,
        f"{outer}/train/PNEUMONIA/person123_bacteria_45.jpeg",
        f"{outer}/train/NORMAL/IM-0115-0001.jpeg",
        f"{outer}/train/NORMAL/.DS_Store",
        f"{outer}/val/NORMAL/NORMAL2-IM-0115-0001-0002.jpeg",
        f"{outer}/test/Pneumonia/person123_virus_1.jpeg",
        f"{outer}/__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
    )
    table = adapted(tmp_path, "kermany_chest")
    assert csv_lines(table) == [
        "image,label,subtype,patient,split",
        f"{outer}/test/Pneumonia/person123_virus_1.jpeg,PNEUMONIA,virus,person123,test",
        f"{outer}/train/NORMAL/IM-0115-0001.jpeg,NORMAL,normal,0115,train",
        f"{outer}/train/PNEUMONIA/person123_bacteria_45.jpeg,PNEUMONIA,bacteria,person123,train",
        f"{outer}/val/NORMAL/NORMAL2-IM-0115-0001-0002.jpeg,NORMAL,normal,0115,validation",
    ]
    assert read_as_shipped(table, tmp_path, "kermany_chest")["label"].tolist() == [1, 0, 1, 0]


def test_kermany_refuses_a_name_without_a_patient_and_an_unknown_class(tmp_path):
    place(tmp_path, "train/NORMAL/scan-7.jpeg")
    with pytest.raises(DataError, match=r"'scan-7.jpeg' is no name of this data set; expected person"):
        adapted(tmp_path, "kermany_chest")
    place(tmp_path, "train/COVID/IM-1-1.jpeg")
    with pytest.raises(DataError, match=r"has 'COVID'.*expected 'NORMAL', 'PNEUMONIA'"):
        adapted(tmp_path, "kermany_chest")


# arrays


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_medmnist_has_a_row_a_frame_with_the_name_of_its_class(tmp_path, shape):
    root = tmp_path / "breastmnist_224"
    for part, labels in (("train", [0, 1]), ("val", [1]), ("test", [0])):
        save(root / f"{part}_images.npy", np.zeros((len(labels), 4, 4), dtype=np.uint8))
        save(root / f"{part}_labels.npy", np.array(labels, dtype=np.uint8).reshape(shape))
    table = adapted(tmp_path, "medmnist", subset="breastmnist_224")
    assert csv_lines(table) == [
        "image,frame,split,label",
        "breastmnist_224/test_images.npy,0,test,malignant",
        "breastmnist_224/train_images.npy,0,train,malignant",
        "breastmnist_224/train_images.npy,1,train,normal or benign",
        "breastmnist_224/val_images.npy,0,validation,normal or benign",
    ]
    rows = read_as_shipped(table, tmp_path, "breastmnist")
    assert rows["label"].tolist() == [1, 1, 0, 0]
    assert rows["frame"].tolist() == [0, 0, 1, 0]


def test_medmnist_frames_are_in_the_order_of_numbers(tmp_path):
    save(tmp_path / "other" / "train_images.npy", np.zeros((12, 2, 2, 3), dtype=np.uint8))
    save(tmp_path / "other" / "train_labels.npy", np.arange(12).reshape(-1, 1))
    table = adapted(tmp_path, "medmnist", subset="other")
    assert table["frame"].tolist() == table["label"].tolist() == [str(i) for i in range(12)]


def test_chestmnist_has_a_column_a_finding(tmp_path):
    root = tmp_path / "chestmnist_224"
    save(root / "train_images.npy", np.zeros((2, 2, 2), dtype=np.uint8))
    save(root / "train_labels.npy", np.eye(14, dtype=np.int64)[[0, 13]])
    table = adapted(tmp_path, "medmnist", subset="chestmnist_224")
    rows = read_as_shipped(table, tmp_path, "chestmnist")
    assert rows["label_atelectasis"].tolist() == [1, 0]
    assert rows["label_hernia"].tolist() == [0, 1]
    assert rows.filter(like="label_").to_numpy().sum() == 2


def test_medmnist_without_labels_has_empty_ones(tmp_path):
    for part in ("train", "test"):
        save(tmp_path / "breastmnist" / f"{part}_images.npy", np.zeros((1, 2, 2), dtype=np.uint8))
    save(tmp_path / "breastmnist" / "train_labels.npy", np.array([[1]]))
    assert adapted(tmp_path, "medmnist", subset="breastmnist")["label"].tolist() == [
        "",
        "normal or benign",
    ]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 4)), np.zeros((2, 1), int), r"shape \(2, 4, 4, 4\); expected N x H x W"),
        (np.zeros((2, 4, 4)), np.zeros((3, 1), int), r"train_labels.npy: int64 of shape \(3, 1\)"),
        (np.zeros((2, 4, 4)), np.zeros((2, 1)), r"float64 of shape .*expected whole numbers"),
        (np.zeros((2, 4, 4)), np.array([[0], [2]]), r"labels from 0 to 2; expected 0 to 1"),
        (np.array([{}]), np.zeros((1, 1), int), r"train_images.npy: not an array of numbers"),
    ],
)
def test_medmnist_refuses_arrays_of_other_shapes(tmp_path, images, labels, message):
    save(tmp_path / "breastmnist" / "train_images.npy", images)
    save(tmp_path / "breastmnist" / "train_labels.npy", labels)
    with pytest.raises(DataError, match=message):
        adapted(tmp_path, "medmnist", subset="breastmnist")


def test_medmnist_that_is_not_unpacked_is_an_error(tmp_path):
    place(tmp_path, "breastmnist/breastmnist.npz")
    with pytest.raises(DataError, match=r"found breastmnist.npz; expected train_images.npy"):
        adapted(tmp_path, "medmnist", subset="breastmnist")


def mrnet(root: Path) -> None:
    findings = {
        "train": {
            "acl": "0000,1\n0001,0\n",
            "meniscus": "0001,1\n0000,1\n",
            "abnormal": "0000,1\n0001,1\n",
        },
        "valid": {"acl": "1130,0\n", "meniscus": "1130,0\n", "abnormal": "1130,1\n"},
    }
    for part, tables in findings.items():
        for finding, text in tables.items():
            place(root, f"{part}-{finding}.csv")
            (root / f"{part}-{finding}.csv").write_text(text)
    save(root / "train/sagittal/0000.npy", np.zeros((8, 2, 2), dtype=np.uint8))
    save(root / "valid/sagittal/1130.npy", np.zeros((5, 2, 2), dtype=np.uint8))


def test_mrnet_takes_the_middle_half_and_the_ligament_before_the_meniscus(tmp_path):
    mrnet(tmp_path / "MRNet-v1.0")
    table = adapted(tmp_path, "mrnet")
    first, second, third = (
        f"MRNet-v1.0/{name}.npy"
        for name in ("train/sagittal/0000", "train/sagittal/0001", "valid/sagittal/1130")
    )
    assert csv_lines(table) == [
        "image,frame,label,patient,split,acl,meniscus,abnormal",
        *[f"{first},{frame},acl,0000,train,1,1,1" for frame in (2, 3, 4, 5)],
        f"{second},0,meniscus,0001,train,0,1,1",  # no such file: one row for the store to reject
        *[f"{third},{frame},normal,1130,test,0,0,1" for frame in (1, 2, 3)],
    ]
    assert read_as_shipped(table, tmp_path, "mrnet_knee")["label"].tolist() == [2, 2, 2, 2, 1, 0, 0, 0]


def test_mrnet_refuses_tables_of_different_exams(tmp_path):
    mrnet(tmp_path)
    (tmp_path / "valid-meniscus.csv").write_text("1131,0\n")
    with pytest.raises(DataError, match=r"valid-meniscus.csv: other exams than in valid-acl.csv"):
        adapted(tmp_path, "mrnet")


def patchcamelyon(folder: Path, counts: tuple[int, int, int] = (3, 1, 2)) -> None:
    h5py = pytest.importorskip("h5py")
    for part, count in zip(("train", "valid", "test"), counts, strict=True):
        stem = f"camelyonpatch_level_2_split_{part}"
        labels = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
        for name, array in (("x", np.zeros((count, 96, 96, 3), dtype=np.uint8)), ("y", labels)):
            with h5py.File(folder / f"{stem}_{name}.h5", "w") as file:
                file[name] = array
        rows = [f"{i},1,2,True,True,camelyon16_{part}_{i % 2}" for i in range(count)]
        write(folder, f"{stem}_meta.csv", ",coord_y,coord_x,tumor_patch,center_tumor_patch,wsi", *rows)


def test_patchcamelyon_has_a_row_a_patch_with_its_slide(tmp_path):
    patchcamelyon(tmp_path)
    table = adapted(tmp_path, "patchcamelyon")
    stem = "camelyonpatch_level_2_split"
    assert csv_lines(table) == [
        "image,frame,label,patient,split",
        f"{stem}_test_x.h5,0,normal,camelyon16_test_0,test",
        f"{stem}_test_x.h5,1,tumor,camelyon16_test_1,test",
        f"{stem}_train_x.h5,0,normal,camelyon16_train_0,train",
        f"{stem}_train_x.h5,1,tumor,camelyon16_train_1,train",
        f"{stem}_train_x.h5,2,normal,camelyon16_train_0,train",
        f"{stem}_valid_x.h5,0,normal,camelyon16_valid_0,validation",
    ]
    assert read_as_shipped(table, tmp_path, "patchcamelyon")["label"].tolist() == [0, 1, 0, 1, 0, 0]


def test_patchcamelyon_draws_a_sample_from_the_seed_alone(tmp_path):
    patchcamelyon(tmp_path, (20, 10, 10))
    draws = [
        csv_lines(adapted(tmp_path, "patchcamelyon", sample=15, sample_seed=seed))
        for seed in (22, 22, 23)
    ]
    everything = csv_lines(adapted(tmp_path, "patchcamelyon"))
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 16
    assert set(draws[0]) < set(everything)
    assert {line.rpartition(",")[2] for line in draws[0][1:]} == {"train", "validation", "test"}
    with pytest.raises(DataError, match=r"40 images; expected at least sample 41"):
        adapted(tmp_path, "patchcamelyon", sample=41)


def test_patchcamelyon_refuses_parts_that_are_not_in_step(tmp_path):
    patchcamelyon(tmp_path)
    path = tmp_path / "camelyonpatch_level_2_split_train_meta.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"3 images in .*_train_x.h5, 3 labels .* and 2 rows in"):
        adapted(tmp_path, "patchcamelyon")
    (tmp_path / "camelyonpatch_level_2_split_train_x.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"train_x.h5: not an HDF5 file"):
        adapted(tmp_path, "patchcamelyon")


def test_patchcamelyon_says_that_h5py_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"needs the package h5py"):
        adapted(tmp_path, "patchcamelyon")


# real data


def fold_lists(target: str) -> pd.DataFrame:
    """All images of study 4's published lists, once, with the name of the file."""
    lists = [pd.read_csv(path, dtype=str) for path in sorted((FOLDS / target).glob("*fold*.csv"))]
    return (
        pd.concat(lists).drop_duplicates("path").assign(name=lambda t: t["path"].str.split("/").str[-1])
    )


class TestRealData:
    pytestmark = real

    def test_mednist_folders_are_the_published_table(self):
        folder = REAL / "sources" / "mednist64"
        listed = pd.read_csv(folder / "labels.csv", dtype=str).sort_values("file")
        table = adapted(folder, "class_folders", subset="images")
        assert table["image"].tolist() == listed["file"].tolist()
        assert table["label"].tolist() == listed["label"].tolist()

    def test_kermany_patients_are_those_of_study_4(self, tmp_path):
        listed = fold_lists("chest")
        assert kermany_patients(listed["name"].tolist(), tmp_path) == listed["pid"].tolist()
        place(tmp_path, *["/".join(path.split("/")[-4:]) for path in listed["path"]])
        table = adapted(tmp_path, "kermany_chest")
        expected = listed.sort_values("path")
        assert len(table) == 5856
        assert table["label"].tolist() == expected["class"].tolist()
        assert table["patient"].nunique() == 2790

    def test_busi_names_and_classes_are_those_of_study_4(self, tmp_path):
        listed = fold_lists("breast")
        outer = "Dataset_BUSI_with_GT"
        for name in listed["name"]:
            place(
                tmp_path,
                f"{outer}/{name.split(' ')[0]}/{name}",
                f"{outer}/{name.split(' ')[0]}/{name[:-4]}_mask.png",
            )
        table = adapted(tmp_path, "busi")
        found = dict(zip(table["image"].str.split("/").str[-1], table["binary"], strict=True))
        assert found == dict(zip(listed["name"], listed["class"], strict=True))
        assert len(table) == 780
        assert table["label"].value_counts().to_dict() == {
            "benign": 437,
            "malignant": 210,
            "normal": 133,
        }

    def test_breastmnist_unpacked_has_the_official_parts(self, tmp_path):
        with np.load(REAL / "targets" / "breastmnist28" / "breastmnist.npz") as arrays:
            for name in arrays.files:
                save(tmp_path / "breastmnist" / f"{name}.npy", arrays[name])
        table = adapted(tmp_path, "medmnist", subset="breastmnist")
        assert table.groupby("split").size().to_dict() == {"test": 156, "train": 546, "validation": 78}
        train = table[table["split"] == "train"]["label"].value_counts()
        assert train.to_dict() == {"normal or benign": 399, "malignant": 147}
