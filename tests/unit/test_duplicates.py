"""Equal and nearly equal images, what they make of a data set, and what its audit says."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance
from scipy.stats import chi2_contingency

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data.audit import audit_dataset, site_confounding
from medtransfer.data.audit_page import audit_page
from medtransfer.data.duplicates import DUPLICATES, NEAR_BITS, find_duplicates, perceptual_hashes
from medtransfer.data.splits import make_split
from medtransfer.errors import DataError

SIDE = 96


def scene(seed: int) -> np.ndarray:
    """A picture with coarse and fine structure, uint8, SIDE x SIDE."""
    generator = np.random.default_rng(seed)
    layers = []
    for size in (4, 8, 16, 32, 96):
        noise = Image.fromarray(generator.random((size, size)).astype(np.float32))
        layers.append(np.asarray(noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) * size**-0.3)
    total = sum(layers)
    return ((total - total.min()) / (total.max() - total.min()) * 255).astype(np.uint8)


def stack(*pictures: np.ndarray) -> np.ndarray:
    return np.stack(pictures)[..., None]


def samples_of(images: np.ndarray, **columns: Any) -> pd.DataFrame:
    rows = np.arange(len(images))
    default = {
        "image_id": [f"image{row}" for row in rows],
        "manifest_row": rows + 100,
        "sha256": [f"file{row}" for row in rows],
        "pixel_sha256": [hash(image.tobytes()) for image in images],
        "patient": [f"patient{row}" for row in rows],
        "header_patient": "",
        "site": None,
        "display": "window",
        "burned_in": "",
        "label": rows % 2,
    }
    return pd.DataFrame({**default, **columns})


def settings(**keys: Any) -> DatasetSettings:
    default = {"task": "binary", "labels": "y", "classes": ["a", "b"], "image_size": 8}
    return parse(DatasetSettings, {**default, "manifest": "m", **keys}, "d.yaml")


def jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(io.BytesIO(file.getvalue()))


CHANGES = {
    "jpeg": jpeg,
    "smaller and back": lambda p: p.resize((60, 60), Image.Resampling.BILINEAR).resize((SIDE, SIDE)),
    "darker": lambda p: p.point(lambda value: int(255 * (value / 255) ** 1.3)),
    "less contrast": lambda p: ImageEnhance.Contrast(p).enhance(0.7),
    "brighter": lambda p: p.point(lambda value: min(255, value + 10)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_same_picture_after_a_change_is_a_near_duplicate(change):
    for seed in range(10):
        original = scene(seed)
        changed = np.asarray(change(Image.fromarray(original)).convert("L"))
        assert (changed != original).any()
        images = stack(original, scene(100 + seed), changed)
        found = find_duplicates(samples_of(images), images)
        DUPLICATES.check(found)
        assert found[["image_a", "image_b", "kind"]].to_numpy().tolist() == [
            ["image0", "image2", "near"]
        ]
        assert 0 <= found["bits"].iloc[0] <= NEAR_BITS


def test_different_pictures_are_far_from_near():
    hashes = perceptual_hashes(stack(*(scene(seed) for seed in range(60)))).astype(int)
    bits = [(one != other).sum() for one, other in itertools.combinations(hashes, 2)]
    assert hashes.shape == (60, 255)
    assert set(np.unique(hashes)) == {-1, 1}
    assert min(bits) > 2 * NEAR_BITS
    assert abs(np.mean(bits) - 127.5) < 4  # as of independent coins


def test_near_pairs_are_those_of_brute_force():
    generator = np.random.default_rng(0)
    base = [scene(seed) for seed in range(30)]
    images = stack(
        *[np.clip(base[i % 30] + generator.normal(0, 1 + i / 2, (SIDE, SIDE)), 0, 255).astype(np.uint8)
          for i in range(90)]
    )  # fmt: skip
    hashes = perceptual_hashes(images)
    expected = {
        (f"image{a}", f"image{b}", int((hashes[a] != hashes[b]).sum()))
        for a, b in itertools.combinations(range(90), 2)
        if (hashes[a] != hashes[b]).sum() <= NEAR_BITS
    }
    found = find_duplicates(samples_of(images), images)
    assert 20 < len(expected) < 88
    assert set(zip(found["image_a"], found["image_b"], found["bits"], strict=True)) == expected


def test_equal_images_are_paired_with_the_first_and_counted_once_in_near_pairs():
    one, other = scene(1), scene(2)
    close = np.clip(one.astype(int) + 4, 0, 255).astype(np.uint8)
    images = stack(one, other, one, close, one)
    found = find_duplicates(samples_of(images), images)
    assert found[["image_a", "image_b", "kind"]].to_numpy().tolist() == [
        ["image0", "image2", "exact"],
        ["image0", "image3", "near"],
        ["image0", "image4", "exact"],
    ]
    only = find_duplicates(samples_of(images), images, near=False)
    assert set(only["kind"]) == {"exact"}
    assert len(only) == 2


def test_colour_depth_and_order_of_rows_do_not_matter():
    one, close = scene(1), np.clip(scene(1).astype(int) + 4, 0, 255)
    grey = stack(one, close).astype(np.uint8)
    deep = grey.astype(np.uint16) * 257
    colour = np.repeat(grey, 3, axis=3)
    for images in (grey, deep, colour):
        np.testing.assert_array_equal(perceptual_hashes(images), perceptual_hashes(grey))
    samples = samples_of(grey).set_index(np.array([7, 3]))
    assert len(find_duplicates(samples, grey)) == 1


def test_no_duplicates_give_an_empty_table():
    images = stack(scene(1), scene(2))
    found = find_duplicates(samples_of(images), images)
    DUPLICATES.check(found)
    assert found.empty


def test_images_that_all_look_alike_are_refused_with_the_way_out():
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 2, (300, SIDE, SIDE))
    images = np.clip(scene(0) + noise, 0, 255)[..., None].astype(np.uint8)
    with pytest.raises(DataError, match=r"pairs of 300 images look alike.*accept near_duplicates"):
        find_duplicates(samples_of(images), images)
    assert find_duplicates(samples_of(images), images, near=False).empty


# audit


def audited(**keys: Any) -> tuple[dict[str, Any], DatasetSettings]:
    """Sixty pictures of forty patients at two hospitals; two pairs are equal, one of them torn."""
    pictures = [scene(seed) for seed in range(60)]
    pictures[31], pictures[42] = pictures[30], pictures[40]
    images = stack(*pictures)
    rows = np.arange(60)
    samples = samples_of(
        images,
        patient=[f"patient{row if row < 20 else row // 2 + 20}" for row in rows],
        site=["A"] * 30 + ["B"] * 30,
        label=[int(row % 3 == 0) for row in rows],
        group_sex=["F", "M"] * 30,
        burned_in=["yes"] * 5 + [""] * 55,
    )
    rejected = pd.DataFrame({"stage": ["decode"] * 3, "reason": ["bad", "worse", "bad"]})
    duplicates = find_duplicates(samples, images)
    dataset = settings(**keys)
    splits = {name: make_split(samples, duplicates, dataset, name) for name in ("holdout", "cv3-0")}
    audit = audit_dataset(samples, rejected, duplicates, splits, dataset)
    for name, split in splits.items():
        parts = audit["splits"][name]["parts"]
        assert {part: held["images"] for part, held in parts.items()} == split[
            "part"
        ].value_counts().to_dict()
    return audit, dataset


def test_the_audit_counts_what_there_is():
    audit, _ = audited()
    assert (audit["images"], audit["rejected"]) == (60, 3)
    assert audit["patients"] == 40
    assert audit["rejected_reasons"] == {"decode: bad": 2, "decode: worse": 1}
    assert audit["classes"] == {"a": 40, "b": 20}
    assert audit["sites"] == {"A": 30, "B": 30}
    assert audit["burned_in"] == {"not stated": 55, "yes": 5}
    assert audit["display"] == {"window": 60}
    assert audit["duplicates"] == {
        "exact_pairs": 2,
        "exact_pairs_of_different_patients": 1,
        "exact_examples": [[140, 142]],
        "near_pairs": 0,
        "near_pairs_of_different_patients": 0,
        "near_examples": [],
    }
    # 30 and 31 are both equal and differently labelled; 40 and 42 too
    assert audit["contradictions"] == {"images": 4, "examples": [[130, 131], [140, 142]]}
    for split in audit["splits"].values():
        assert split["pairs_within_parts"] == {"exact": 2}
        assert set(split["leakage"].values()) == {0}
        held = split["parts"].values()
        assert sum(part["classes"]["b"] for part in held) == 20
        assert sum(part["groups"]["sex"].get("F", 0) for part in held) == 30
        assert sum(part["sites"].get("A", 0) for part in held) == 30


def test_patients_of_several_sites_are_counted_and_told():
    images = stack(*(scene(seed) for seed in range(4)))
    columns = {"patient": ["p", "p", "q", "image3"], "site": ["A", "B", "B", "A"]}
    samples = samples_of(images, **columns)
    nothing = pd.DataFrame({"stage": [], "reason": []})
    audit = audit_dataset(samples, nothing, find_duplicates(samples, images), {}, settings())
    assert audit["patients_at_several_sites"] == 1
    assert audit["images_of_unknown_patients"] == 1
    page = audit_page("x", audit, settings())
    assert "1 patient ids occur at more than one site" in page
    assert "The patients of 1 images are not known" in page


def test_accepted_leakage_is_counted_and_told():
    torn = set()
    for seed in range(8):
        audit, dataset = audited(accept=["exact_duplicates"], splits={"seed": seed})
        counts = [split["leakage"]["exact_duplicates"] for split in audit["splits"].values()]
        torn.add(max(counts))
        told = "Accepted leakage, pairs of equal images in different parts"
        assert (told in audit_page("demo", audit, dataset)) == (max(counts) > 0)
    assert torn == {0, 1}


def test_the_page_tells_what_a_reader_must_know():
    audit, dataset = audited(origin="a hospital", drop=["contradictions"])
    page = audit_page("demo", audit, dataset)
    for words in (
        "Data set demo",
        "a hospital",
        "4 equal images have different labels (manifest rows 130 and 131; 140 and 142). They are left",
        "5 headers say that annotations are burned into the pixels",
        "decode: bad",
        "excluded",
    ):
        assert words in page, words
    assert "They are used as they are" in audit_page("demo", *audited())


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_association_of_site_and_label_is_cramers_v(share):
    generator = np.random.default_rng(0)
    site = np.array(["A", "B"] * 200)
    label = np.where(generator.random(400) < share, site == "A", generator.random(400) < 0.5).astype(
        int
    )
    table = pd.DataFrame({"site": site, "label": label})
    found = site_confounding(table, settings())
    chi2 = chi2_contingency(pd.crosstab(site, label), correction=False).statistic
    assert found["label"] == pytest.approx(np.sqrt(chi2 / 400))
    assert site_confounding(table.assign(site="A"), settings()) == {}
    assert site_confounding(table.assign(site=None), settings()) == {}


def test_a_site_that_tells_the_label_is_a_warning():
    audit, dataset = audited()
    audit["site_confounding"] = {"label": 0.8}
    assert "The site tells much about label (Cramér&#x27;s V 0.80)" in audit_page("x", audit, dataset)
