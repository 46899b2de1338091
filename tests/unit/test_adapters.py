"""Adapters whose labels are tables: each on a small copy of the published layout, row for row."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from medtransfer.config.access import AdapterName, AdapterSettings
from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse, read_yaml
from medtransfer.data.adapters import ADAPTERS, adapt
from medtransfer.data.adapters.layout import manifest
from medtransfer.data.adapters.medmnist import CLASSES
from medtransfer.data.manifest import read_manifest
from medtransfer.errors import DataError

SHIPPED = Path(__file__).parents[2] / "config" / "datasets"


def place(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(folder: Path, name: str, *lines: str) -> None:
    place(folder, name)
    (folder / name).write_text("\n".join(lines) + "\n")


def shipped(name: str) -> DatasetSettings:
    path = SHIPPED / f"{name}.yaml"
    return parse(DatasetSettings, read_yaml(path), str(path))


def adapted(folder: Path, name: str, **keys: Any) -> pd.DataFrame:
    return adapt(folder, parse(AdapterSettings, {"name": name, **keys}, "test"))


def csv_lines(table: pd.DataFrame) -> list[str]:
    return table.to_csv(index=False, lineterminator="\n").splitlines()


def read_as_shipped(table: pd.DataFrame, folder: Path, name: str) -> pd.DataFrame:
    """The manifest as the pipeline reads it with the data set's shipped settings."""
    path = folder / "manifest.csv"
    table.to_csv(path, index=False)
    settings = dataclasses.replace(shipped(name), manifest=str(path), adapter=None, access=None)
    return read_manifest(path, settings)


# the shipped files


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_settings_of_a_public_set_say_how_it_is_had_and_what_is_known(path):
    settings = shipped(path.stem)
    if settings.adapter is None:
        return
    assert settings.access is not None
    assert settings.access.files or settings.access.instructions
    assert settings.card is not None
    assert settings.origin
    assert path.read_text().startswith("# ")


def test_every_adapter_has_settings_and_every_name_an_adapter():
    used = {settings.adapter.name for settings in map(shipped, names()) if settings.adapter}
    assert used == set(ADAPTERS) == set(get_args(AdapterName))


def names() -> list[str]:
    return [path.stem for path in SHIPPED.glob("*.yaml")]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_shipped_medmnist_classes_are_those_that_the_adapter_writes(name):
    settings = shipped(name)
    assert set(settings.class_names) == set(CLASSES[name])
    assert settings.adapter is not None
    assert settings.adapter.subset == f"{name}_{settings.image_size}"


# fundus photographs


def test_aptos2019_has_a_row_for_each_graded_image(tmp_path):
    write(tmp_path, "train.csv", "id_code,diagnosis", "b2,4", "a1,0", "a1,0")
    place(tmp_path, "train_images/a1.png", "train_images/not_graded.png")
    table = adapted(tmp_path, "aptos2019")
    assert csv_lines(table) == ["image,grade", "train_images/a1.png,0", "train_images/b2.png,4"]
    assert read_as_shipped(table, tmp_path, "aptos2019")["label"].tolist() == [0, 4]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["id_code,diagnosis", "a,0", "a,1"],
            r"train.csv: column 'id_code' has 'a' in rows that differ",
        ),
        (
            ["id_code,diagnosis", "a,5"],
            r"train.csv: column 'diagnosis' has '5' in data row 0.*expected '0'",
        ),
        (
            ["id_code,diagnose", "a,1"],
            r"no column 'diagnosis'; did you mean 'diagnose'.*columns: id_code",
        ),
        (["id_code,diagnosis"], r"train.csv: no rows"),
    ],
)
def test_a_wrong_table_is_named_with_what_is_expected(tmp_path, lines, message):
    write(tmp_path, "train.csv", *lines)
    with pytest.raises(DataError, match=message):
        adapted(tmp_path, "aptos2019")


def test_a_missing_table_is_named_with_what_the_folder_holds(tmp_path):
    place(tmp_path, "test.csv")
    with pytest.raises(DataError, match=r"train\.csv: no such file; .* holds test\.csv"):
        adapted(tmp_path, "aptos2019")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent: no such folder"):
        adapted(tmp_path / "absent", "aptos2019")


def test_the_two_eyes_of_eyepacs_are_of_one_patient(tmp_path):
    write(tmp_path, "trainLabels.csv", "image,level", "16_left,4", "16_right,4", "10_left,0")
    table = adapted(tmp_path, "eyepacs2015")
    assert csv_lines(table) == [
        "image,grade,patient,eye",
        "train/10_left.jpeg,0,10,left",
        "train/16_left.jpeg,4,16,left",
        "train/16_right.jpeg,4,16,right",
    ]
    assert read_as_shipped(table, tmp_path, "eyepacs2015")["patient"].tolist() == ["10", "16", "16"]


def test_an_eyepacs_name_without_an_eye_is_an_error(tmp_path):
    write(tmp_path, "trainLabels.csv", "image,level", "16_middle,4")
    with pytest.raises(DataError, match=r"'16_middle' is no name .* expected <patient>_left"):
        adapted(tmp_path, "eyepacs2015")


# dermoscopy

ISIC2019_HEADER = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"


def isic2019(folder: Path) -> None:
    write(
        folder,
        "ISIC_2019_Training_GroundTruth.csv",
        ISIC2019_HEADER,
        "ISIC_0000001,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
        "ISIC_0000002_downsampled,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
        "ISIC_0000000,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0",
    )
    write(
        folder,
        "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        "ISIC_0000000,55.0,anterior torso,,female",
        "ISIC_0000001,,,HAM_0000550,",
        "ISIC_0000002_downsampled,30.0,upper extremity,MSK4_0011169,male",
    )


def test_isic2019_takes_the_lesion_for_the_patient_and_unknown_for_no_label(tmp_path):
    isic2019(tmp_path)
    place(tmp_path, "ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_0000001.jpg")
    table = adapted(tmp_path, "isic2019")
    inner = "ISIC_2019_Training_Input"
    assert csv_lines(table) == [
        "image,label,patient,site,sex,age,anatomical_site",
        f"{inner}/ISIC_0000000.jpg,,,,female,55.0,anterior torso",
        f"{inner}/ISIC_0000002_downsampled.jpg,MEL,MSK4_0011169,MSK4,male,30.0,upper extremity",
        f"{inner}/{inner}/ISIC_0000001.jpg,NV,HAM_0000550,HAM,,,",
    ]
    assert read_as_shipped(table, tmp_path, "isic2019")["label"].tolist() == [-1, 0, 1]


def test_isic2019_refuses_two_classes_in_one_row(tmp_path):
    isic2019(tmp_path)
    write(
        tmp_path,
        "ISIC_2019_Training_GroundTruth.csv",
        ISIC2019_HEADER,
        "ISIC_0000001,1,1,0,0,0,0,0,0,0",
    )
    with pytest.raises(DataError, match=r"data row 0 .*expected a single 1 among MEL, NV"):
        adapted(tmp_path, "isic2019")


def test_isic2019_needs_the_facts_of_every_image(tmp_path):
    isic2019(tmp_path)
    write(
        tmp_path,
        "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        "ISIC_0000000,55.0,anterior torso,,female",
    )
    with pytest.raises(DataError, match=r"Metadata.csv: no row for image 'ISIC_0000001' \(2 such"):
        adapted(tmp_path, "isic2019")


def ham_of_isic2018(folder: Path) -> None:
    write(
        folder,
        "ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC",
        "ISIC_0024306,0.0,1.0,0.0,0.0,0.0,0.0,0.0",
        "ISIC_0024307,0.0,0.0,0.0,1.0,0.0,0.0,0.0",
    )
    write(
        folder,
        "ISIC2018_Task3_Training_LesionGroupings.csv",
        "image,lesion_id,diagnosis confirm type",
        "ISIC_0024307,HAM_0003291,follow_up",
        "ISIC_0024306,HAM_0000550,follow_up",
    )


def test_ham10000_of_isic_2018_groups_by_lesion(tmp_path):
    ham_of_isic2018(tmp_path)
    table = adapted(tmp_path, "ham10000")
    assert csv_lines(table) == [
        "image,label,patient,site,sex,age,anatomical_site",
        "ISIC2018_Task3_Training_Input/ISIC_0024306.jpg,NV,HAM_0000550,,,,",
        "ISIC2018_Task3_Training_Input/ISIC_0024307.jpg,AKIEC,HAM_0003291,,,,",
    ]
    assert read_as_shipped(table, tmp_path, "ham10000")["label"].tolist() == [1, 3]


HAM_FACTS = (
    "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset",
    "HAM_0003291,ISIC_0024307,akiec,histo,60.0,male,back,vidir_modern",
    "HAM_0000550,ISIC_0024306,nv,follow_up,45.0,female,face,rosendahl",
)


def test_ham10000_of_dataverse_has_lower_case_labels_and_two_folders(tmp_path):
    write(tmp_path, "HAM10000_metadata", *HAM_FACTS)
    place(
        tmp_path, "HAM10000_images_part_1/ISIC_0024306.jpg", "HAM10000_images_part_2/ISIC_0024307.jpg"
    )
    assert csv_lines(adapted(tmp_path, "ham10000"))[1:] == [
        "HAM10000_images_part_1/ISIC_0024306.jpg,NV,HAM_0000550,rosendahl,female,45.0,face",
        "HAM10000_images_part_2/ISIC_0024307.jpg,AKIEC,HAM_0003291,vidir_modern,male,60.0,back",
    ]


def test_ham10000_takes_the_facts_from_one_table_and_the_labels_from_the_other(tmp_path):
    ham_of_isic2018(tmp_path)
    write(tmp_path, "HAM10000_metadata.csv", *HAM_FACTS, "HAM_9,ISIC_9,mel,histo,1,male,back,rosendahl")
    assert csv_lines(adapted(tmp_path, "ham10000"))[1:] == [
        "ISIC2018_Task3_Training_Input/ISIC_0024306.jpg,NV,HAM_0000550,rosendahl,female,45.0,face",
        "ISIC2018_Task3_Training_Input/ISIC_0024307.jpg,AKIEC,HAM_0003291,vidir_modern,male,60.0,back",
    ]


# chest radiographs

CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,"
    "Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
    "Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def chexpert(folder: Path) -> None:
    path = "CheXpert-v1.0-small"
    write(
        folder,
        "train.csv",
        CHEXPERT_HEADER,
        f"{path}/train/patient00002/study1/view1_frontal.jpg,Female,87,Frontal,AP,,,-1.0,1.0,,,,,0.0,,,,,",
        f"{path}/train/patient00001/study1/view2_lateral.jpg,Male,68,Lateral,,1.0,,,,,,,,,0.0,,,,1.0",
    )
    write(
        folder,
        "valid.csv",
        CHEXPERT_HEADER,
        f"{path}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,PA,{'0.0,' * 13}1.0",
    )


@pytest.mark.parametrize(
    ("policy", "value"), [(None, "0"), ("zeros", "0"), ("ones", "1"), ("ignore", "")]
)
def test_chexpert_uncertain_labels_follow_the_policy_and_blanks_are_absent(tmp_path, policy, value):
    chexpert(tmp_path / "CheXpert-v1.0-small")
    keys = {} if policy is None else {"uncertain": policy}
    table = adapted(tmp_path, "chexpert", **keys)
    outer = "CheXpert-v1.0-small"
    assert csv_lines(table) == [
        f"image,{CHEXPERT_HEADER.partition('AP/PA,')[2]},patient,split,sex,age,view,projection",
        f"{outer}/train/patient00001/study1/view2_lateral.jpg,1,0,0,0,0,0,0,0,0,0,0,0,0,1,"
        "patient00001,train,Male,68,Lateral,",
        f"{outer}/train/patient00002/study1/view1_frontal.jpg,0,0,{value},1,0,0,0,0,0,0,0,0,0,0,"
        "patient00002,train,Female,87,Frontal,AP",
        f"{outer}/valid/patient64541/study1/view1_frontal.jpg,0,0,0,0,0,0,0,0,0,0,0,0,0,1,"
        "patient64541,test,Male,73,Frontal,PA",
    ]
    assert len(read_as_shipped(table, tmp_path, "chexpert")) == 3
    five = read_as_shipped(table, tmp_path, "chexpert5")
    assert five["label_Cardiomegaly"].fillna(-1).tolist() == [0, -1 if value == "" else int(value), 0]


def test_chexpert_can_keep_frontal_views_only_and_lie_without_its_outer_folder(tmp_path):
    chexpert(tmp_path)
    table = adapted(tmp_path, "chexpert", views="frontal")
    assert table["image"].tolist() == [
        "train/patient00002/study1/view1_frontal.jpg",
        "valid/patient64541/study1/view1_frontal.jpg",
    ]


def test_chexpert_refuses_other_values_and_paths(tmp_path):
    chexpert(tmp_path)
    text = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(text.replace("-1.0", "0.5"))
    with pytest.raises(DataError, match=r"train.csv: column 'Cardiomegaly' has '0.5' in data row 0"):
        adapted(tmp_path, "chexpert")
    (tmp_path / "train.csv").write_text(text.replace("patient00002/", ""))
    with pytest.raises(DataError, match=r"train.csv: '.*' is no name of this data set"):
        adapted(tmp_path, "chexpert")


def nih(folder: Path, table: str, sex: str) -> None:
    write(
        folder,
        table,
        f"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient {sex},View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
        "00000002_000.png,No Finding,0,2,80,M,PA,2500,2048,0.171,0.171,",
        "00000001_001.png,Cardiomegaly|Pleural_Thickening,1,1,58,F,AP,2894,2729,0.143,0.143,",
    )
    write(folder, "train_val_list.txt", "00000001_001.png")
    write(folder, "test_list.txt", "00000002_000.png")


@pytest.mark.parametrize(
    ("table", "sex", "places"),
    [
        ("Data_Entry_2017.csv", "Gender", ["images/00000001_001.png", "images/00000002_000.png"]),
        (
            "Data_Entry_2017_v2020.csv",
            "Sex",
            ["images_001/images/00000001_001.png", "images_002/images/00000002_000.png"],
        ),
    ],
)
def test_nih_labels_are_14_columns_in_both_layouts(tmp_path, table, sex, places):
    nih(tmp_path, table, sex)
    place(tmp_path, *places)
    rows = adapted(tmp_path, "nih_chestxray14")
    assert csv_lines(rows) == [
        "image,Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Pneumonia,Pneumothorax,"
        "Consolidation,Edema,Emphysema,Fibrosis,Pleural_Thickening,Hernia,patient,split,sex,age,view",
        f"{places[0]},0,1,0,0,0,0,0,0,0,0,0,0,1,0,1,train,F,58,AP",
        f"{places[1]},0,0,0,0,0,0,0,0,0,0,0,0,0,0,2,test,M,80,PA",
    ]
    assert len(read_as_shipped(rows, tmp_path, "nih_chestxray14")) == 2


def test_nih_keeps_a_row_whose_image_is_missing_and_leaves_out_images_without_a_row(tmp_path):
    nih(tmp_path, "Data_Entry_2017.csv", "Gender")
    place(tmp_path, "images_001/images/00000001_001.png", "images_001/images/00000009_000.png")
    assert adapted(tmp_path, "nih_chestxray14")["image"].tolist() == [
        "images/00000002_000.png",
        "images_001/images/00000001_001.png",
    ]


def test_nih_refuses_an_unknown_finding_and_an_image_in_both_lists(tmp_path):
    nih(tmp_path, "Data_Entry_2017.csv", "Gender")
    write(tmp_path, "test_list.txt", "00000001_001.png")
    with pytest.raises(DataError, match=r"test_list.txt: '00000001_001.png' is in the other list"):
        adapted(tmp_path, "nih_chestxray14")
    text = (tmp_path / "Data_Entry_2017.csv").read_text()
    (tmp_path / "Data_Entry_2017.csv").write_text(text.replace("Cardiomegaly", "Cardiomegali"))
    with pytest.raises(DataError, match=r"'Finding Labels' has 'Cardiomegali' in data row 1"):
        adapted(tmp_path, "nih_chestxray14")


def test_rsna_has_one_row_an_image_however_many_boxes(tmp_path):
    write(
        tmp_path,
        "stage_2_train_labels.csv",
        "patientId,x,y,width,height,Target",
        "b-2,264.0,152.0,213.0,379.0,1",
        "b-2,562.0,152.0,256.0,453.0,1",
        "a-1,,,,,0",
        "c-3,1.0,1.0,2.0,2.0,1",
        "c-3,,,,,0",
    )
    write(
        tmp_path,
        "stage_2_detailed_class_info.csv",
        "patientId,class",
        "a-1,No Lung Opacity / Not Normal",
        "b-2,Lung Opacity",
        "b-2,Lung Opacity",
    )
    table = adapted(tmp_path, "rsna_pneumonia")
    assert csv_lines(table) == [
        "image,label,finding",
        "stage_2_train_images/a-1.dcm,normal,No Lung Opacity / Not Normal",
        "stage_2_train_images/b-2.dcm,pneumonia,Lung Opacity",
        "stage_2_train_images/c-3.dcm,pneumonia,",
    ]
    assert read_as_shipped(table, tmp_path, "rsna_pneumonia")["label"].tolist() == [0, 1, 1]


# mammograms

CBIS_HEADERS = {
    "mass": "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
    "mass shape,mass margins,assessment,pathology,subtlety,image file path,cropped image file path,"
    "ROI mask file path",
    "calc": "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,"
    "calc type,calc distribution,assessment,pathology,subtlety,image file path,"
    "cropped image file path,ROI mask file path",
}


def lesion(kind: str, part: str, patient: str, side: str, pathology: str) -> str:
    """A row as in the published tables, where the path of the mask ends in a line break."""
    case = f"{kind.title()}-{part}_{patient}_{side}_CC"
    paths = f'{case}/1.2.3/4.5.6/000000.dcm,{case}_1/7/8/000001.dcm,"{case}_1/7/8/000000.dcm\n"'
    return f"{patient},3,{side},CC,1,{kind},ROUND,OBSCURED,4,{pathology},4,{paths}"


def cbis_ddsm(folder: Path) -> None:
    rows: dict[tuple[str, str], list[str]] = {
        ("mass", "train"): [
            lesion("mass", "Training", "P_00002", "LEFT", "BENIGN"),
            lesion("mass", "Training", "P_00002", "LEFT", "MALIGNANT"),
            lesion("mass", "Training", "P_00001", "LEFT", "MALIGNANT"),
        ],
        ("mass", "test"): [lesion("mass", "Test", "P_00016", "LEFT", "BENIGN_WITHOUT_CALLBACK")],
        ("calc", "train"): [lesion("calc", "Training", "P_00005", "RIGHT", "BENIGN")],
        ("calc", "test"): [lesion("calc", "Test", "P_00038", "LEFT", "BENIGN")],
    }
    for (kind, part), lines in rows.items():
        write(folder, f"{kind}_case_description_{part}_set.csv", CBIS_HEADERS[kind], *lines)


def test_cbis_ddsm_has_one_row_an_image_and_finds_the_renamed_file(tmp_path):
    cbis_ddsm(tmp_path)
    outer = "CBIS-DDSM"
    place(
        tmp_path,
        f"{outer}/Mass-Training_P_00001_LEFT_CC/1.2.3/4.5.6/1-1.dcm",
        f"{outer}/Mass-Training_P_00002_LEFT_CC/07-20-2016-DDSM-1/1-full mammogram images-2/1-1.dcm",
        f"{outer}/Mass-Training_P_00002_LEFT_CC_1/1.2.3/4.5.6/1-1.dcm",
        f"{outer}/Calc-Training_P_00005_RIGHT_CC/1.2.3/4.5.6/000000.dcm",
    )
    (tmp_path / outer / "Calc-Test_P_00038_LEFT_CC").mkdir()
    table = adapted(tmp_path, "cbis_ddsm")
    assert csv_lines(table) == [
        "image,label,patient,split,side,view,abnormality,density,lesions,conflicting",
        f"{outer}/Calc-Test_P_00038_LEFT_CC/1.2.3/4.5.6/000000.dcm,benign,P_00038,test,LEFT,CC,calc,3,1,0",
        f"{outer}/Calc-Training_P_00005_RIGHT_CC/1.2.3/4.5.6/000000.dcm,"
        "benign,P_00005,train,RIGHT,CC,calc,3,1,0",
        f"{outer}/Mass-Training_P_00001_LEFT_CC/1.2.3/4.5.6/1-1.dcm,"
        "malignant,P_00001,train,LEFT,CC,mass,3,1,0",
        f"{outer}/Mass-Training_P_00002_LEFT_CC/07-20-2016-DDSM-1/1-full mammogram images-2/1-1.dcm,"
        "malignant,P_00002,train,LEFT,CC,mass,3,2,1",
        # no such case: the row stays, as the table names it
        "Mass-Test_P_00016_LEFT_CC/1.2.3/4.5.6/000000.dcm,benign,P_00016,test,LEFT,CC,mass,3,1,0",
    ]
    assert read_as_shipped(table, tmp_path, "cbis_ddsm")["label"].tolist() == [0, 0, 1, 1, 0]


def test_cbis_ddsm_refuses_two_files_in_the_place_of_one(tmp_path):
    cbis_ddsm(tmp_path)
    series = "Mass-Training_P_00001_LEFT_CC/1.2.3/4.5.6"
    place(tmp_path, f"{series}/1-1.dcm", f"{series}/1-2.dcm")
    with pytest.raises(DataError, match=r"4\.5\.6: 2 DICOM files; expected one full mammogram"):
        adapted(tmp_path, "cbis_ddsm")


def test_cbis_ddsm_refuses_an_unknown_pathology(tmp_path):
    cbis_ddsm(tmp_path)
    write(
        tmp_path,
        "calc_case_description_test_set.csv",
        CBIS_HEADERS["calc"],
        lesion("calc", "Test", "P_00038", "LEFT", "UNPROVEN"),
    )
    with pytest.raises(DataError, match=r"calc_.*_test_set.csv: column 'pathology' has 'UNPROVEN'"):
        adapted(tmp_path, "cbis_ddsm")


# the script


def test_the_script_writes_the_manifest_and_nothing_on_an_error(tmp_path, monkeypatch):
    write(tmp_path, "train.csv", "id_code,diagnosis", "a1,0")
    output = tmp_path / "manifest.csv"
    monkeypatch.setattr(
        "sys.argv",
        [
            *("adapt.py", "--adapter", '{"name": "aptos2019"}'),
            *("--folder", str(tmp_path), "--output", str(output)),
        ],
    )
    script = str(SHIPPED.parents[1] / "workflow" / "scripts" / "adapt.py")
    runpy.run_path(script, run_name="__main__")
    assert output.read_text() == "image,grade\ntrain_images/a1.png,0\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.csv", "train.csv"]
    output.unlink()
    write(tmp_path, "train.csv", "id_code,diagnosis", "a1,9")
    with pytest.raises(SystemExit, match=r"error: .*'diagnosis' has '9'"):
        runpy.run_path(script, run_name="__main__")
    assert not output.exists()


# all


def test_rows_are_in_the_order_of_image_and_number_of_frame():
    table = manifest({"image": ["b", "a", "a", "a"], "frame": [0, 10, 9, 100], "x": [1, 2, 3, 4]})
    assert csv_lines(table) == ["image,frame,x", "a,9,3", "a,10,2", "a,100,4", "b,0,1"]


def test_an_image_with_two_rows_is_refused(tmp_path):
    write(tmp_path, "RadiologyAI_train.csv", "filename,label", "x/CT/abd/normal/1.png,normal")
    for part in ("val", "test"):
        write(tmp_path, f"RadiologyAI_{part}.csv", "filename,label", "x/CT/abd/normal/2.png,normal")
    with pytest.raises(DataError, match=r"image 'x/CT/abd/normal/2.png' has more than one row"):
        adapted(tmp_path, "radimagenet")


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("isic2019", isic2019),
        ("ham10000", ham_of_isic2018),
        ("chexpert", chexpert),
        ("cbis_ddsm", cbis_ddsm),
    ],
)
def test_a_byte_order_mark_and_blanks_around_values_change_nothing(
    tmp_path: Path, name: str, layout: Callable[[Path], None]
) -> None:
    layout(tmp_path)
    expected = csv_lines(adapted(tmp_path, name))
    for path in sorted(tmp_path.rglob("*.csv")):
        first, *rest = path.read_text().splitlines(keepends=True)
        path.write_text("\ufeff" + first.replace(",", " ,") + "".join(rest).replace(",", ", "))
    assert csv_lines(adapted(tmp_path, name)) == expected
