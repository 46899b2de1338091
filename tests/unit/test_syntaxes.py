"""The same stored values in every transfer syntax that keeps them, made here and back bit for bit."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import gdcm
import jpeg_ls
import numpy as np
import pytest
from dicom_files import (
    encoded,
    even,
    fixture,
    frames_image,
    image,
    in_syntax,
    noise,
    picture,
    read_dicom,
    swapped,
    written,
)
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medtransfer.data.dicom import DECODERS, DicomFile

NATIVE = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
COMPRESSED = [RLELossless, JPEGLSLossless, JPEG2000Lossless]
DEPTHS = [
    (np.uint8, 8),
    (np.int8, 8),
    (np.uint8, 7),
    (np.uint16, 10),
    (np.uint16, 12),
    (np.uint16, 16),
    (np.int16, 12),
    (np.int16, 16),
]
by_name = {"ids": lambda value: getattr(value, "name", None)}


def span(kind: type, bits: int) -> tuple[int, int]:
    low = -(2 ** (bits - 1)) if np.dtype(kind).kind == "i" else 0
    return low, low + 2**bits


def with_full_window(stored: np.ndarray, bits: int) -> Dataset:
    """A file whose window maps the whole range of its bits onto [0, 1], so that no value is lost."""
    low, high = span(stored.dtype.type, bits)
    make = frames_image if stored.ndim == 3 else image
    return make(stored, bits, WindowCenter=(low + high) // 2, WindowWidth=high - low)


def values_of(content: bytes, kind: type, bits: int, frame: int | None = None) -> np.ndarray:
    """The stored values, from the display values of a full window."""
    low, high = span(kind, bits)
    shown = DicomFile(content).picture(frame).values.astype(np.float64)
    return np.rint(shown * (high - low - 1)).astype(np.int64) + low


# grey


@pytest.mark.parametrize(("kind", "bits"), DEPTHS)
@pytest.mark.parametrize("shape", [(33, 35), (64, 40)])
@pytest.mark.parametrize("syntax", NATIVE + COMPRESSED, **by_name)
def test_grey_values_come_back_from_every_syntax(syntax, shape, kind, bits):
    stored = noise(*span(kind, bits), shape, kind)
    content = in_syntax(with_full_window(stored, bits), syntax)
    assert dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(values_of(content, kind, bits), stored)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (3, 1)])
@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless], **by_name)
def test_images_of_a_few_pixels_come_back(syntax, shape):
    for kind, bits in ((np.uint8, 8), (np.int16, 16)):
        stored = noise(*span(kind, bits), shape, kind)
        content = in_syntax(with_full_window(stored, bits), syntax)
        np.testing.assert_array_equal(values_of(content, kind, bits), stored)


@pytest.mark.parametrize("shape", [(33, 35), (5, 7)])
def test_bytes_in_big_endian_words_come_back(shape):
    stored = noise(0, 256, shape, np.uint8)
    dataset = with_full_window(stored, 8)
    dataset["PixelData"].VR = "OW"
    dataset.PixelData = swapped(even(stored.tobytes()))
    content = encoded(dataset, ExplicitVRBigEndian)
    assert dcmread(io.BytesIO(content))["PixelData"].VR == "OW"
    np.testing.assert_array_equal(values_of(content, np.uint8, 8), stored)


@pytest.mark.parametrize("kind", [np.uint32, np.int32])
@pytest.mark.parametrize("syntax", NATIVE, **by_name)
def test_32_bit_values_come_back(syntax, kind):
    low = -(2**31) if kind is np.int32 else 0
    stored = (noise(0, 2**24, (33, 35), np.int64) * 256 + low).astype(kind)
    stored[0, 0], stored[0, 1] = low, low + 2**32 - 1
    content = in_syntax(with_full_window(stored, 32), syntax)
    found = picture(content).values
    np.testing.assert_allclose(found, (stored.astype(float) - low) / (2**32 - 1), atol=1e-7)


@pytest.mark.parametrize(
    "shape",
    [
        (3, 8, 11),
        (3, 9, 11),
    ],
)
def test_single_bits_come_back_though_frames_begin_within_a_byte(shape):
    stored = noise(0, 2, shape, np.uint8)
    dataset = frames_image(stored, 1, BitsAllocated=1)
    dataset.PixelData = even(np.packbits(stored.ravel(), bitorder="little").tobytes())
    content = encoded(dataset)
    for frame in range(3):
        np.testing.assert_array_equal(read_dicom(content, frame), stored[frame] * 255)


@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.int16, 12), (np.uint16, 16)])
@pytest.mark.parametrize("syntax", NATIVE + COMPRESSED, **by_name)
def test_each_of_several_frames_comes_back(syntax, kind, bits):
    stored = np.stack([noise(*span(kind, bits), (33, 35 + i), kind)[:, :35] for i in range(3)])
    content = in_syntax(with_full_window(stored, bits), syntax)
    assert DicomFile(content).frames == 3
    for frame in (2, 0, 1):
        np.testing.assert_array_equal(values_of(content, kind, bits, frame), stored[frame])


def test_frames_in_several_fragments_come_back():
    stored = noise(0, 4096, (3, 33, 35))
    content = encoded(with_full_window(stored, 12), JPEG2000Lossless)
    dataset = dcmread(io.BytesIO(content))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=4)
    for frame in range(3):
        found = values_of(written(dataset), np.uint16, 12, frame)
        np.testing.assert_array_equal(found, stored[frame])


# JPEG lossless, written by GDCM


def jpeg_lossless(dataset: Dataset, folder: Path) -> bytes:
    (folder / "raw.dcm").write_bytes(encoded(dataset))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "raw.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "compressed.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    content = (folder / "compressed.dcm").read_bytes()
    assert dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    return content


@pytest.mark.parametrize(("kind", "bits"), [depth for depth in DEPTHS if depth[1] != 7])
def test_grey_values_come_back_from_jpeg_lossless(tmp_path, kind, bits):
    stored = noise(*span(kind, bits), (34, 35), kind)
    content = jpeg_lossless(with_full_window(stored, bits), tmp_path)
    np.testing.assert_array_equal(values_of(content, kind, bits), stored)


def test_jpeg_lossless_of_7_bits_does_not_end_the_interpreter(tmp_path):
    stored = noise(0, 128, (34, 35), np.uint8)
    jpeg_lossless(with_full_window(stored, 7), tmp_path)
    read = "import sys; from pathlib import Path; from medtransfer.data.images import open_source; "
    read += "print(open_source(Path(sys.argv[1])).picture().values.sum())"
    command = [sys.executable, "-c", read, str(tmp_path / "compressed.dcm")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0
    assert float(answer.stdout) == pytest.approx(stored.sum() / 127, rel=1e-5)


def test_colours_come_back_from_jpeg_lossless(tmp_path):
    stored = noise(0, 256, (34, 35, 3), np.uint8)
    content = jpeg_lossless(image(stored), tmp_path)
    np.testing.assert_array_equal(picture(content).values, stored)


def test_each_frame_comes_back_from_jpeg_lossless(tmp_path):
    stored = noise(0, 4096, (3, 34, 35))
    content = jpeg_lossless(with_full_window(stored, 12), tmp_path)
    for frame in (1, 2, 0):
        np.testing.assert_array_equal(values_of(content, np.uint16, 12, frame), stored[frame])


@pytest.mark.parametrize("name", ["JPEG-LL.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm"])
def test_jpeg_lossless_is_what_gdcm_reads_of_the_file(name):
    reader = gdcm.ImageReader()
    reader.SetFileName(str(fixture(name)))
    assert reader.Read()
    read = reader.GetImage()
    size = read.GetDimension(1), read.GetDimension(0)
    kind = np.uint8 if read.GetBufferLength() == size[0] * size[1] else np.int16
    buffer = read.GetBuffer().encode("utf-8", "surrogateescape")
    raw = image(np.frombuffer(buffer, kind).reshape(size), WindowCenter=127, WindowWidth=254)
    dataset = dcmread(fixture(name))
    dataset.WindowCenter, dataset.WindowWidth = 127, 254
    found = picture(written(dataset)).values
    np.testing.assert_array_equal(found, picture(raw).values)
    assert found.std() > 0.05


# colour


@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint16, 16), (np.uint16, 12)])
@pytest.mark.parametrize("shape", [(33, 35, 3), (40, 64, 3)])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", NATIVE, **by_name)
def test_colours_come_back_from_native_syntaxes_in_pixels_and_planes(syntax, planar, shape, kind, bits):
    stored = noise(0, 2**bits, shape, kind)
    dataset = image(stored, bits, PlanarConfiguration=planar)
    if planar:
        dataset.PixelData = even(np.ascontiguousarray(stored.transpose(2, 0, 1)).tobytes())
    found = picture(in_syntax(dataset, syntax)).values
    if bits == 8:
        assert found.dtype == np.uint8
    scale = 1 if bits == 8 else 2**bits - 1
    np.testing.assert_array_equal(np.rint(found.astype(float) * scale), stored)


@pytest.mark.parametrize(
    ("syntax", "photometric"),
    [*[(syntax, "RGB") for syntax in COMPRESSED], (JPEG2000Lossless, "YBR_RCT")],
    **by_name,
)
@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_colours_come_back_from_compressed_syntaxes(syntax, photometric, kind, bits):
    stored = noise(0, 2**bits, (33, 35, 3), kind)
    dataset = image(stored, bits, PhotometricInterpretation=photometric)
    found = picture(encoded(dataset, syntax)).values
    scale = 1 if bits == 8 else 2**bits - 1
    np.testing.assert_array_equal(np.rint(found.astype(float) * scale), stored)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], **by_name)
def test_each_colour_frame_comes_back(syntax, planar):
    stored = noise(0, 256, (3, 9, 7, 3), np.uint8)
    dataset = frames_image(stored, PlanarConfiguration=planar)
    if planar and not syntax.is_compressed:
        dataset.PixelData = even(np.ascontiguousarray(stored.transpose(0, 3, 1, 2)).tobytes())
    elif planar:
        dataset.PlanarConfiguration = 0
    content = encoded(dataset, syntax)
    for frame in (2, 0, 1):
        np.testing.assert_array_equal(DicomFile(content).picture(frame).values, stored[frame])


@pytest.mark.parametrize(
    "frames",
    [1, 3],
)
def test_native_ybr_422_has_two_bytes_a_pixel(frames):
    """PS3.3 C.7.6.3.1.2: two luma values, then the two chroma values that they share."""
    luma = noise(16, 236, (frames, 4, 6), np.uint8)
    pairs = np.stack([luma[..., 0::2], luma[..., 1::2]], axis=-1)
    chroma = np.full((*pairs.shape[:-1], 2), 128, dtype=np.uint8)
    dataset = image(np.zeros((4, 6, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    dataset.NumberOfFrames = frames
    dataset.PixelData = np.concatenate([pairs, chroma], axis=-1).tobytes()
    content = encoded(dataset)
    for frame in range(frames):
        found = DicomFile(content).picture(frame).values
        np.testing.assert_array_equal(found, np.repeat(luma[frame][..., None], 3, axis=2))


# signs that the stream and the header disagree on


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_ls_of_signed_values_is_given_its_sign_by_the_header(bits):
    kind = np.int8 if bits == 8 else np.int16
    stored = noise(*span(kind, bits), (33, 35), kind)
    unsigned = (stored.astype(int) & (2**bits - 1)).astype(f"u{stored.itemsize}")
    dataset = with_full_window(stored, bits)
    dataset.PixelData = encapsulate([bytes(jpeg_ls.encode_array(unsigned))])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = UID(JPEGLSLossless)
    np.testing.assert_array_equal(values_of(written(dataset), kind, bits), stored)


def test_jpeg_2000_of_unsigned_values_is_given_its_sign_by_the_header():
    """Pillow reads the stream alone, as 13 of 16 bits; the header says two's complement."""
    dataset = dcmread(fixture("J2K_pixelrep_mismatch.dcm"))
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    unsigned = np.asarray(Image.open(io.BytesIO(stream))).astype(int) >> 3
    signed = np.where(unsigned >= 2**12, unsigned - 2**13, unsigned)
    assert signed.min() < -1000
    found = picture(fixture("J2K_pixelrep_mismatch.dcm").read_bytes()).values
    expected = np.clip((signed - 39.5) / 99 + 0.5, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


# decoders


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"]
)
def test_every_installed_decoder_of_a_lossless_syntax_agrees(name):
    dataset = dcmread(fixture(name))
    found = read_dicom(fixture(name).read_bytes())
    decoders = ("pydicom",) if "RLE" in name else ("gdcm",)
    for decoder in decoders:
        stored = pixel_array(dataset, decoding_plugin=decoder)
        expected = picture(image(stored, WindowCenter=600, WindowWidth=1600)).values * 255
        np.testing.assert_array_equal(found, expected)


def test_gdcm_comes_first_for_lossless_jpeg_only():
    first = {syntax for syntax, order in DECODERS.items() if order[0] == "gdcm"}
    assert first == {JPEGLossless, JPEGLosslessSV1}
