"""How fast a pixel store is built, beside a plain loop of pydicom and Pillow and beside decoding alone.

    python benchmarks/decoding.py                    files drawn here, one kind a row
    python benchmarks/decoding.py --files FOLDER     your own DICOM files, all kinds together

For each kind, in one run on one machine, images per second of
* the plain loop, one process: ``dcmread``, ``pixel_array``, modality and VOI LUT, Pillow's resize;
* decoding alone, one process: reading, parsing and decoding with the decoder that the store takes;
* the store with 1, 2 ... processes, everything included: start of the processes, hashes, tables.
The plain loop and decoding alone are held to one core, since GDCM takes all it can get; the decoders
of the store take one each. The files are in the page cache. Medians of ``--rounds`` interleaved rounds.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data.dicom import DicomFile, stored_values
from medtransfer.data.embedded.chest import draw_chest, draw_patient
from medtransfer.data.store import build_store

SIZE = 224
CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
# name: side in pixels, bits, transfer syntax, images
KINDS: dict[str, tuple[int, int, UID, int]] = {
    "radiograph 2000 px, JPEG 2000": (2000, 12, JPEG2000Lossless, 40),
    "radiograph 2000 px, JPEG-LS": (2000, 12, JPEGLSLossless, 80),
    "radiograph 2000 px, uncompressed": (2000, 12, ExplicitVRLittleEndian, 200),
    "CT slice 512 px, JPEG 2000": (512, 12, JPEG2000Lossless, 300),
    "CT slice 512 px, RLE": (512, 12, RLELossless, 2000),
    "CT slice 512 px, uncompressed": (512, 12, ExplicitVRLittleEndian, 3000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=Path, help="folder of DICOM files (default: drawn here)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    columns = [f"store, {n} process{'es' * (n > 1)}" for n in arguments.processes]
    print("images per second", "plain loop", "decoding alone", *columns, "of plain", "of decoding",
          "scaling", sep=" | ")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name, files in _groups(arguments.files, Path(folder)):
            _measure(name, files, arguments.processes, arguments.rounds, Path(folder))


def _groups(files: Path | None, folder: Path) -> list[tuple[str, list[Path]]]:
    if files is not None:
        return [(str(files.name), sorted(p for p in files.rglob("*") if p.is_file()))]
    return [(name, _draw(folder / f"kind{i}", *kind)) for i, (name, kind) in enumerate(KINDS.items())]


def _draw(folder: Path, side: int, bits: int, syntax: UID, count: int) -> list[Path]:
    """Phantom radiographs with noise, a few different ones repeated as files of their own."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:04d}.dcm")
        if number < 4:
            _write(paths[-1], _picture(side, bits, generator), bits, syntax)
        else:
            shutil.copy(paths[number % 4], paths[-1])
    return paths


def _picture(side: int, bits: int, generator: np.random.Generator) -> np.ndarray:
    small = Image.fromarray(draw_chest(draw_patient(generator), generator).astype(np.float32))
    values = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    noisy = values + generator.normal(0, 0.01, values.shape)
    return (np.clip(noisy, 0, 1) * (2**bits - 1)).astype(np.uint16)


def _write(path: Path, pixels: np.ndarray, bits: int, syntax: UID) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = pixels.tobytes()
    if syntax.is_compressed:
        plugin = "pylibjpeg" if syntax == RLELossless else ""
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def _measure(name: str, files: list[Path], processes: list[int], rounds: int, folder: Path) -> None:
    tasks: dict[str, Callable[[], None]] = {
        "plain": lambda: _plain_loop(files),
        "decoding": lambda: _decode_only(files),
        **{f"store{n}": lambda n=n: _store(files, n, folder / "store") for n in processes},
    }
    seconds: dict[str, list[float]] = {task: [] for task in tasks}
    for _ in range(rounds):
        for task, run in tasks.items():
            _keep_to(1 if task in ("plain", "decoding") else len(CORES))
            began = time.perf_counter()
            run()
            seconds[task].append(time.perf_counter() - began)
    rate = {task: len(files) / statistics.median(times) for task, times in seconds.items()}
    first, last = f"store{processes[0]}", f"store{processes[-1]}"
    cores = processes[-1] / processes[0]
    print(
        name, *(f"{rate[task]:.1f}" for task in tasks),
        f"{rate[first] / rate['plain']:.2f}", f"{rate[first] / rate['decoding']:.0%}",
        f"{rate[last] / rate[first] / cores:.0%}", sep=" | ", flush=True,
    )  # fmt: skip


def _keep_to(cores: int) -> None:
    """Use the first so many cores of those that this program may use, where the system can be told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(CORES)[:cores]))


def _plain_loop(files: list[Path]) -> None:
    images = np.empty((len(files), SIZE, SIZE), dtype=np.uint8)
    for row, path in enumerate(files):
        dataset = pydicom.dcmread(path)
        values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
        values = (values - values.min()) / (values.max() - values.min()) * 255
        picture = Image.fromarray(values.astype(np.uint8))
        images[row] = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _decode_only(files: list[Path]) -> None:
    for path in files:
        stored_values(DicomFile(path.read_bytes()).dataset, 0)


def _store(files: list[Path], processes: int, folder: Path) -> None:
    settings = {"task": "binary", "labels": "y", "classes": ["a", "b"], "manifest": "m"}
    geometry = {"image_size": SIZE, "channels": 1, "max_rejected": 1.0}
    dataset = parse(DatasetSettings, {**settings, **geometry}, "benchmark")
    rows = np.arange(len(files))
    nothing = {"patient": None, "site": None, "published_part": None}
    names = [str(path) for path in files]
    table = {"manifest_row": rows, "file": names, "frame": -1, **nothing, "label": rows % 2}
    build_store(pd.DataFrame(table), dataset, bytes(32), folder, processes, report=lambda _: None)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
