"""No name, date, id or UID of a DICOM header is in any byte of what the pipeline writes."""

from __future__ import annotations

import base64
import copy
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from conftest import Workspace
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

# The attributes of PS3.15 table E.1-1 (basic profile) that name people, places, times or studies.
NAMES = """
AccessionNumber AcquisitionComments AcquisitionDate AcquisitionDateTime AcquisitionTime
AdditionalPatientHistory AdmissionID AdmittingDate AdmittingDiagnosesDescription AdmittingTime Allergies
BranchOfService ContentCreatorName ContentDate ContentTime CountryOfResidence CurrentPatientLocation
DerivationDescription DetectorID DeviceSerialNumber DeviceUID DischargeDiagnosisDescription EthnicGroup
FrameOfReferenceUID GantryID ImageComments InstanceCreationDate InstanceCreationTime InstitutionAddress
InstitutionName InstitutionalDepartmentName IssuerOfPatientID LastMenstrualDate MedicalRecordLocator
MilitaryRank NameOfPhysiciansReadingStudy Occupation OperatorsName OtherPatientIDs OtherPatientNames
PatientAddress PatientBirthDate PatientBirthName PatientBirthTime PatientComments PatientID
PatientInstitutionResidence PatientMotherBirthName PatientName PatientReligiousPreference PatientState
PatientTelephoneNumbers PerformedLocation PerformedProcedureStepDescription PerformedProcedureStepID
PerformedProcedureStepStartDate PerformedStationAETitle PerformingPhysicianName PlateID ProtocolName
ReasonForStudy ReferringPhysicianAddress ReferringPhysicianName ReferringPhysicianTelephoneNumbers
RegionOfResidence RequestedProcedureDescription RequestedProcedureID RequestingPhysician
RequestingService ResponsibleOrganization ResponsiblePerson ScheduledProcedureStepID
ScheduledStudyLocation SeriesDate SeriesDescription SeriesInstanceUID SeriesTime SmokingStatus
SpecialNeeds StationName StudyComments StudyDate StudyDescription StudyID
StudyInstanceUID StudyTime SynchronizationFrameOfReferenceUID VisitComments
"""
IDENTIFYING = NAMES.split()
IMAGES = 48
DATES, TIMES = "19170304", "031759"


def marker(keyword: str, patient: int) -> str:
    """A value of the attribute's kind that occurs nowhere else."""
    number = IDENTIFYING.index(keyword)
    kind = dictionary_VR(keyword)
    if kind == "UI":
        return f"2.25.7741.{number}.{patient}.998877"
    if kind in ("DA", "TM", "DT"):
        return {"DA": DATES, "TM": TIMES, "DT": DATES + TIMES}[kind]
    if kind == "CS":
        return f"ZQ{number}X{patient}"
    return f"Zq{number}x{patient}" if kind in ("SH", "AE") else f"Zq{number}x{patient}^Quixano"


def hospital_file(path: Path, number: int) -> dict[str, str]:
    """A DICOM file with a marker in every identifying attribute; the label is its brightness."""
    patient, label = number // 2, number % 4 // 2
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.7741.500.{number}.998877"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    for keyword in IDENTIFYING:
        setattr(dataset, keyword, marker(keyword, patient))
    block = dataset.private_block(0x0009, "Zq900x Quixano", create=True)
    block.add_new(0x01, "LO", "Zq901x^Quixano")
    item = Dataset()
    item.PatientID = f"Zq902x{patient}"
    dataset.OtherPatientIDsSequence = [item]
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 1500, (24, 24)) + 1500 * label
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.BurnedInAnnotation = 0, "NO"
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return {"file": path.name, "sick": "ny"[label], "person": str(dataset.PatientID)}


def damage(paths: list[Path]) -> None:
    """Damage of the kinds whose messages might quote a header."""
    cut, flipped, shifted, lying = (path.read_bytes() for path in paths)
    paths[0].write_bytes(cut[: len(cut) - 300])
    paths[1].write_bytes(flipped[:400] + bytes(40) + flipped[440:])
    start = shifted.index(b"Quixano")
    paths[2].write_bytes(shifted[:start] + shifted[start + 3 :])
    text = b"MONOCHROME2 "
    assert lying.count(text) == 1
    paths[3].write_bytes(lying.replace(text, b"Zq39x1^Quixa"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mini_settings) -> Workspace:
    folder = tmp_path_factory.mktemp("hospital")
    paths = [folder / f"{number}.dcm" for number in range(IMAGES)]
    rows = [hospital_file(path, number) for number, path in enumerate(paths)]
    damage([paths[7], paths[18], paths[29], paths[40]])
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    settings = copy.deepcopy(mini_settings)
    settings["datasets"]["chest"] = {
        "manifest": str(folder / "table.csv"), "image": "file", "task": "binary", "labels": "sick",
        "classes": ["n", "y"], "image_size": 24, "channels": 1, "max_rejected": 0.2,
        "patient_in_header": True, "splits": {"validation": 0.25, "test": 0.25},
    }  # fmt: skip
    settings["studies"]["mini"]["grids"][0] |= {"inits": ["random"], "seeds": [0]}
    (folder / "run").mkdir()
    workspace = Workspace(folder / "run")
    workspace.write_study(settings)
    workspace.snakemake()
    workspace.snakemake("all", "--report", "results/mini/snakemake.html")
    return workspace


def forbidden() -> list[bytes]:
    people = range(IMAGES // 2)
    texts = {marker(keyword, patient) for keyword in IDENTIFYING for patient in people}
    texts |= {"Quixano", "2.25.7741", "Zq900x", "Zq901x", "Zq902x", DATES}
    return sorted(text.encode() for text in texts - {TIMES, DATES + TIMES})


def readable(path: Path) -> bytes:
    """The bytes of a file, and what is packed inside of them: tables, data URIs."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        content += pd.read_parquet(path).to_csv().encode()
    if path.suffix == ".html":
        packed = re.findall(rb"base64,([A-Za-z0-9+/=]+)", content)
        content += b"".join(base64.b64decode(text) for text in packed)
        content += b"".join(_inflated(text) for text in packed)
    return content


def _inflated(text: bytes) -> bytes:
    try:
        return zlib.decompress(base64.b64decode(text), wbits=47)
    except zlib.error:
        return b""


def test_the_markers_are_in_the_files_and_would_be_found(finished):
    folder = finished.folder.parent
    content = b"".join(path.read_bytes() for path in folder.glob("*.dcm"))
    assert all(text in content for text in forbidden())
    assert len(forbidden()) > 50 * IMAGES // 2
    header = pydicom.dcmread(folder / "3.dcm")
    assert all(str(header.get(keyword, "")) for keyword in IDENTIFYING)


def test_nothing_that_identifies_is_in_any_byte_of_what_is_written(finished):
    searched = 0
    texts = forbidden()
    for root in ("results", "logs", ".snakemake/log"):
        for path in sorted((finished.folder / root).rglob("*")):
            if path.is_file():
                content = readable(path)
                found = [text for text in texts if text in content]
                assert not found, (path, found[:3])
                searched += 1
    assert searched > 25


def test_the_damaged_files_were_rejected_with_reasons(finished):
    rejected = pd.read_parquet(finished.folder / "results/data/chest/rejected.parquet")
    assert 2 <= len(rejected) <= 4
    assert (rejected["stage"] == "decode").all()


def test_the_patients_of_the_headers_are_known_all_the_same(finished):
    samples = pd.read_parquet(finished.folder / "results/data/chest/samples.parquet")
    assert samples["patient"].nunique() in (IMAGES // 2, IMAGES // 2 - 1)
    assert (samples["patient"] == samples["header_patient"]).all()
    assert (samples["burned_in"] == "no").all()


def test_the_key_is_outside_of_the_results(finished):
    key = (finished.folder / "resources/patient.key").read_bytes().strip()
    assert len(key) >= 32
    for path in (finished.folder / "results").rglob("*"):
        assert path.is_dir() or key not in path.read_bytes(), path
