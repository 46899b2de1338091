"""Splits by patient and nested training subsets."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medtransfer.config.dataset import DatasetSettings
from medtransfer.config.typed import parse
from medtransfer.data import splits
from medtransfer.data.splits import SPLIT, training_subset
from medtransfer.errors import ConfigError, DataError

PATIENTS = 200
CV = [f"cv5-{fold}" for fold in range(5)]


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def settings(**keys: Any) -> DatasetSettings:
    default = {"task": "binary", "labels": "y", "classes": ["a", "b"], "image_size": 8}
    return parse(DatasetSettings, {**default, "manifest": "m", **keys}, "d.yaml")


def stored(patients: int = PATIENTS, seed: int = 0, positive: float = 0.3) -> pd.DataFrame:
    """Samples as the store writes them: one to four images a patient, one label a patient."""
    generator = np.random.default_rng(seed)
    images = generator.integers(1, 5, patients)
    patient = np.repeat(np.arange(patients), images)
    label = (np.arange(patients) < positive * patients).astype(int)
    rows = np.arange(len(patient))
    table = pd.DataFrame(
        {
            "image_id": [digest(("image", seed, row))[:16] for row in rows],
            "manifest_row": rows,
            "sha256": [digest(("bytes", seed, row)) for row in rows],
            "pixel_sha256": [digest(("pixels", seed, row)) for row in rows],
            "header_patient": "",
            "patient": [digest(("patient", p))[:16] for p in patient],
            "site": np.where(generator.random(patients) < 0.3, "B", "A")[patient],
            "published_part": None,
            "label": label[patient],
        }
    )
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


def pairs(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Duplicates: pairs of image_id and their kind."""
    table = pd.DataFrame(rows, columns=["image_a", "image_b", "kind"], dtype=object)
    return table.assign(bits=0)


def make_split(
    samples: pd.DataFrame, dataset: DatasetSettings, split: str, duplicates: pd.DataFrame | None = None
) -> pd.DataFrame:
    return splits.make_split(samples, pairs() if duplicates is None else duplicates, dataset, split)


def parts_by_image(split: pd.DataFrame) -> dict[str, tuple[str, int]]:
    values = zip(split["part"], split["training_rank"], strict=True)
    return dict(zip(split["image_id"], values, strict=True))


def patients_in(samples: pd.DataFrame, split: pd.DataFrame, part: str) -> set[str]:
    return set(samples["patient"][(split["part"] == part).to_numpy()])


def published(samples: pd.DataFrame) -> pd.DataFrame:
    """A published split of whole patients: by the first digit of their name."""
    names = {d: ("train", "validation", "test")[int(d, 16) % 3] for d in "0123456789abcdef"}
    return samples.assign(published_part=samples["patient"].str[0].map(names))


@pytest.mark.parametrize("split", ["holdout", "published", *CV])
def test_no_patient_is_in_two_parts_and_every_image_is_in_one(split):
    samples = published(stored())
    table = make_split(samples, settings(split="s"), split)
    SPLIT.check(table)
    assert table["image_id"].tolist() == samples["image_id"].tolist()
    assert set(table["part"]) == {"train", "validation", "test"}
    assert samples["patient"].groupby(samples["patient"]).size().max() > 1
    assert table.groupby(samples["patient"])["part"].nunique().max() == 1


@pytest.mark.parametrize("split", ["holdout", "cv5-3"])
def test_a_split_does_not_depend_on_the_order_of_the_rows(split):
    samples = stored()
    shuffled = samples.sample(frac=1, random_state=5)
    assert shuffled["image_id"].tolist() != samples["image_id"].tolist()
    one = make_split(samples, settings(), split)
    two = make_split(shuffled.reset_index(drop=True), settings(), split)
    three = make_split(shuffled, settings(), split)
    assert parts_by_image(one) == parts_by_image(two) == parts_by_image(three)


def test_a_split_of_equal_files_that_are_accepted_does_not_depend_on_the_order_of_the_rows():
    samples = stored()
    samples["sha256"] = "the same bytes in every file"
    chosen = settings(accept=["exact_duplicates"])
    one = make_split(samples, chosen, "holdout")
    two = make_split(samples.sample(frac=1, random_state=5), chosen, "holdout")
    assert parts_by_image(one) == parts_by_image(two)


@pytest.mark.parametrize("split", ["holdout", "cv5-3"])
def test_a_split_does_not_depend_on_the_key_of_the_patient_hashes(split):
    samples = stored()
    other = samples.assign(patient=[digest(("other key", p))[:16] for p in samples["patient"]])
    assert other["patient"].nunique() == samples["patient"].nunique() == PATIENTS
    one, two = make_split(samples, settings(), split), make_split(other, settings(), split)
    assert parts_by_image(one) == parts_by_image(two)


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    samples = stored()
    first = make_split(samples, settings(), "holdout")
    again = make_split(samples, settings(splits={"seed": 0}), "holdout")
    other = make_split(samples, settings(splits={"seed": 1}), "holdout")
    pd.testing.assert_frame_equal(first, again)
    assert (first["part"] != other["part"]).mean() > 0.2


@pytest.mark.parametrize("shares", [(0.15, 0.25), (0.2, 0.35), (0.1, 0.1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_of_patients_are_as_set_within_each_class(shares, seed):
    samples = stored()
    validation, test = shares
    splits = {"validation": validation, "test": test, "seed": seed}
    table = make_split(samples, settings(splits=splits), "holdout")
    patients = samples.assign(part=table["part"]).drop_duplicates("patient")
    for label, size in ((0, 140), (1, 60)):
        counts = patients[patients["label"] == label]["part"].value_counts()
        assert counts.sum() == size
        assert abs(counts["validation"] - validation * size) <= 1
        assert abs(counts["test"] - test * size) <= 1


@pytest.mark.parametrize("split", CV)
def test_folds_are_balanced_over_classes_and_share_out_validation(split):
    samples = stored()
    table = make_split(samples, settings(splits={"validation": 0.4}), split)
    patients = samples.assign(part=table["part"]).drop_duplicates("patient")
    for label, size in ((0, 140), (1, 60)):
        counts = patients[patients["label"] == label]["part"].value_counts()
        assert abs(counts["test"] - size / 5) <= 1
        assert abs(counts["validation"] - 0.4 * (size - counts["test"])) <= 1


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_the_test_parts_of_all_folds_partition_the_patients(folds):
    samples = stored()
    tests = [
        patients_in(samples, make_split(samples, settings(), f"cv{folds}-{fold}"), "test")
        for fold in range(folds)
    ]
    assert sum(map(len, tests)) == len(set.union(*tests)) == PATIENTS
    assert min(map(len, tests)) > 0


def test_several_labels_are_balanced_by_their_combination():
    samples = stored()
    first = samples["label"].astype(float)
    second = samples["patient"].str[0].isin(list("01234567")).astype(float)
    many = samples.drop(columns="label").assign(label_u=first, label_v=second)
    many.loc[many.index[::50], "label_v"] = np.nan
    multilabel = settings(task="multilabel", labels=["u", "v"], classes=[])
    table = make_split(many, multilabel, "holdout")
    patients = many.assign(part=table["part"]).groupby("patient").max()
    for combination, group in patients.groupby(["label_u", "label_v"]):
        share = (group["part"] == "test").mean()
        assert abs(share - 0.25) <= 1.01 / len(group), combination


@pytest.mark.parametrize("seed", range(5))
def test_classes_of_few_patients_are_shared_out_together(seed):
    """Four patients with a combination of labels of their own; half of the four go to the test."""
    samples = stored()
    number = samples["patient"].rank(method="dense").astype(int)
    rare = number <= 4
    many = samples.drop(columns="label").assign(label_u=samples["label"].astype(float))
    for row, name in enumerate("vwxy", start=1):
        common = ~rare & samples["patient"].str[1].isin(list("01234567"))
        many[f"label_{name}"] = ((number == row) | common).astype(float)
    labels = {"task": "multilabel", "labels": list("uvwxy"), "classes": []}
    table = make_split(many, settings(**labels, splits={"test": 0.5, "seed": seed}), "holdout")
    assert many["patient"][rare].nunique() == 4
    assert many["patient"][rare & (table["part"] == "test")].nunique() == 2


# external sites


def test_external_sites_are_kept_out_of_the_other_parts_and_nothing_else_is():
    samples = stored()
    table = make_split(samples, settings(site="s", external_sites=["B"]), "holdout")
    assert ((table["part"] == "external") == (samples["site"] == "B")).all()
    assert (table["training_rank"][samples["site"] == "B"] == 0).all()
    inside = samples["site"] == "A"
    alone = make_split(samples[inside].reset_index(drop=True), settings(), "holdout")
    assert parts_by_image(table[inside]) == parts_by_image(alone)


def test_an_external_site_may_be_a_number():
    samples = stored().replace({"site": {"A": "1", "B": "2"}})
    table = make_split(samples, settings(site="s", external_sites=[2]), "cv5-0")
    assert ((table["part"] == "external") == (samples["site"] == "2")).all()


def test_an_external_site_without_images_is_refused():
    with pytest.raises(
        DataError, match=r"external_sites names 'C'; the stored images have \['A', 'B'\]"
    ):
        make_split(stored(), settings(site="s", external_sites=["C"]), "holdout")


def test_each_external_site_needs_images():
    with pytest.raises(DataError, match="'C'"):
        make_split(stored(), settings(site="s", external_sites=["B", "C"]), "holdout")


def test_a_patient_of_an_external_and_another_site_is_in_one_part_only():
    samples = stored()
    samples["site"] = np.where(samples["sha256"].str[0].isin(list("0123")), "B", "A")
    assert samples.groupby("patient")["site"].nunique().max() == 2
    table = make_split(samples, settings(site="s", external_sites=["B"]), "holdout")
    assert table.groupby(samples["patient"])["part"].nunique().max() == 1


# published splits


def test_a_published_split_is_taken_as_it_is():
    samples = published(stored())
    table = make_split(samples, settings(split="s"), "published")
    assert table["part"].tolist() == samples["published_part"].tolist()


def test_a_published_split_that_tears_patients_is_refused_with_their_number():
    samples = published(stored())
    several = samples[samples.duplicated("patient")].drop_duplicates("patient").index[:3]
    swap = {"train": "test", "test": "train", "validation": "train"}
    samples.loc[several, "published_part"] = samples.loc[several, "published_part"].map(swap)
    message = r"split published leaks: 3 patients with images in several parts .*accept: .patients."
    with pytest.raises(DataError, match=message):
        make_split(samples, settings(split="s"), "published")
    accepted = make_split(samples, settings(split="s", accept=["patients"]), "published")
    assert accepted["part"].tolist() == samples["published_part"].tolist()


def test_a_published_split_with_gaps_is_refused_with_their_number():
    samples = published(stored())
    samples.loc[[4, 9], "published_part"] = None
    with pytest.raises(DataError, match="2 images have no part in the published split"):
        make_split(samples, settings(split="s"), "published")


def test_a_published_split_may_have_gaps_at_external_sites():
    samples = published(stored())
    outside = samples["site"] == "B"
    samples.loc[outside, "published_part"] = None
    chosen = settings(split="s", site="s", external_sites=["B"])
    table = make_split(samples, chosen, "published")
    expected = samples["published_part"].where(~outside, "external")
    assert table["part"].tolist() == expected.tolist()


def test_where_no_validation_part_is_published_one_is_drawn_from_the_training_patients():
    samples = published(stored()).replace({"published_part": {"validation": "train"}})
    table = make_split(samples, settings(split="s", splits={"validation": 0.2}), "published")
    assert ((table["part"] == "test") == (samples["published_part"] == "test")).all()
    assert table.groupby(samples["patient"])["part"].nunique().max() == 1
    inner = samples[samples["published_part"] == "train"].drop_duplicates("patient")
    share = len(patients_in(samples, table, "validation")) / len(inner)
    assert abs(share - 0.2) < 0.03
    shuffled = samples.sample(frac=1, random_state=1)
    again = make_split(shuffled, settings(split="s", splits={"validation": 0.2}), "published")
    assert parts_by_image(table) == parts_by_image(again)


def test_images_in_no_list_of_a_published_fold_are_excluded():
    samples = published(stored()).rename(columns={"published_part": "published_part_2"})
    samples.loc[[3, 8], "published_part_2"] = None
    table = make_split(samples.assign(published_part=None), settings(), "published-2")
    assert table["part"].tolist() == samples["published_part_2"].fillna("excluded").tolist()
    with pytest.raises(DataError, match=r"split published-3: its lists are not at x/{part}{fold}"):
        make_split(samples, settings(fold_lists="x/{part}{fold}"), "published-3")


# duplicates, header patients, dropped images


def strangers(samples: pd.DataFrame, part: pd.Series, one: str, other: str) -> tuple[str, str]:
    """An image of each of two parts, of different patients."""
    first = samples[(part == one).to_numpy()].iloc[0]
    second = samples[(part == other).to_numpy()].iloc[0]
    assert first["patient"] != second["patient"]
    return first["image_id"], second["image_id"]


@pytest.mark.parametrize("split", ["holdout", *CV])
@pytest.mark.parametrize("kind", ["exact", "near"])
def test_drawn_splits_keep_duplicates_and_their_patients_together(split, kind):
    samples = stored()
    apart = make_split(samples, settings(), split)["part"]
    chosen = [strangers(samples, apart, "train", other) for other in ("test", "validation")]
    found = pairs(*((a, b, kind) for a, b in chosen))
    table = make_split(samples, settings(), split, found)
    part = dict(zip(table["image_id"], table["part"], strict=True))
    assert len({part[image] for pair in chosen for image in pair}) == 1  # all linked by one image
    assert table.groupby(samples["patient"])["part"].nunique().max() == 1


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_accepted_duplicates_change_nothing(kind):
    samples = stored()
    apart = make_split(samples, settings(), "holdout")
    a, b = strangers(samples, apart["part"], "train", "test")
    chosen = settings(accept=[f"{kind}_duplicates"])
    pd.testing.assert_frame_equal(make_split(samples, chosen, "holdout", pairs((a, b, kind))), apart)


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_a_published_split_that_tears_duplicates_stops_unless_that_is_accepted(kind):
    samples = published(stored())
    a, b = strangers(samples, samples["published_part"], "train", "test")
    rows = [int(samples["manifest_row"][samples["image_id"] == image].iloc[0]) for image in (a, b)]
    message = (
        "split published leaks: 1 pairs of .*equal images in different parts .first: manifest row "
        f"{rows[0]} in train, row {rows[1]} in test.*accept: .{kind}_duplicates."
    )
    with pytest.raises(DataError, match=message):
        make_split(samples, settings(split="s"), "published", pairs((a, b, kind)))
    chosen = settings(split="s", accept=[f"{kind}_duplicates"])
    table = make_split(samples, chosen, "published", pairs((a, b, kind)))
    assert table["part"].tolist() == samples["published_part"].tolist()


def test_patients_that_only_the_headers_tell_are_kept_together():
    samples = stored()
    apart = make_split(samples, settings(), "holdout")["part"]
    a, b = strangers(samples, apart, "train", "test")
    samples.loc[samples["image_id"].isin([a, b]), "header_patient"] = "one person"
    table = make_split(samples, settings(), "holdout")
    part = dict(zip(table["image_id"], table["part"], strict=True))
    assert part[a] == part[b]
    chosen = settings(accept=["header_patients"])
    assert make_split(samples, chosen, "holdout")["part"].tolist() == apart.tolist()


def test_one_name_in_all_headers_is_refused_with_the_way_out():
    samples = stored().assign(header_patient="ANON")
    with pytest.raises(DataError, match=r"of 200 patients, are linked .* accept header_patients"):
        make_split(samples, settings(), "holdout")
    make_split(samples, settings(accept=["header_patients"]), "holdout")


def test_duplicates_of_an_external_image_are_external_too():
    samples = stored()
    a = samples["image_id"][samples["site"] == "A"].iloc[0]
    b = samples["image_id"][samples["site"] == "B"].iloc[0]
    chosen = settings(site="s", external_sites=["B"])
    table = make_split(samples, chosen, "holdout", pairs((a, b, "exact")))
    patient = samples["patient"][samples["image_id"] == a].iloc[0]
    assert set(table["part"][samples["patient"] == patient]) == {"external"}


def test_dropped_images_are_in_no_part():
    samples = stored()
    same = samples.index[[0, 50, 90]]
    other = samples.index[[1, 60]]
    samples.loc[same, "pixel_sha256"] = "same"
    samples.loc[other, "pixel_sha256"] = "contradictory"
    samples.loc[same, "label"] = 0
    samples.loc[other, "label"] = [0, 1]
    ids = samples["image_id"]
    found = pairs(
        (ids[same[0]], ids[same[1]], "exact"),
        (ids[same[0]], ids[same[2]], "exact"),
        (ids[other[0]], ids[other[1]], "exact"),
    )

    def excluded(*drop: str) -> list[int]:
        table = make_split(samples, settings(drop=list(drop)), "holdout", found)
        assert (table["training_rank"][table["part"] == "excluded"] == 0).all()
        return table.index[table["part"] == "excluded"].tolist()

    assert excluded() == []
    assert excluded("duplicates") == sorted([same[1], same[2], other[1]])
    assert excluded("contradictions") == sorted(other)
    assert excluded("duplicates", "contradictions") == sorted([same[1], same[2], *other])


# classes


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_class_missing_from_a_part_is_named(part):
    samples = published(stored())
    samples.loc[samples["published_part"] == part, "label"] = 0
    with pytest.raises(DataError, match=f"split published: no {part} image of class 'b'"):
        make_split(samples, settings(split="s"), "published")


def test_a_label_without_a_positive_is_named():
    samples = stored().assign(label_u=1.0, label_v=0.0).drop(columns="label")
    many = settings(task="multilabel", labels=["u", "v"], classes=[])
    with pytest.raises(DataError, match="split holdout: no train image of class 'v'"):
        make_split(samples, many, "holdout")


def test_too_few_patients_for_every_part_is_an_error():
    with pytest.raises(DataError, match=r"split holdout: no .* image of class"):
        make_split(stored(patients=2, positive=0.5), settings(), "holdout")


def test_an_unknown_split_is_refused():
    with pytest.raises(
        ConfigError, match="split 'random'; allowed: holdout, published, published-<fold"
    ):
        make_split(stored(), settings(), "random")


# subsets


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return stored()


@pytest.fixture(scope="module")
def holdout(samples: pd.DataFrame) -> pd.DataFrame:
    return make_split(samples, settings(), "holdout")


def test_the_rank_is_the_number_of_images_up_to_and_with_the_patient(samples, holdout):
    train = samples.assign(rank=holdout["training_rank"])[holdout["part"] == "train"]
    assert (holdout["training_rank"][holdout["part"] != "train"] == 0).all()
    for rank in train["rank"].unique():
        assert (train["rank"] <= rank).sum() == rank
        assert train["patient"][train["rank"] == rank].nunique() == 1


def test_the_full_subset_is_the_training_part(holdout):
    expected = [row for row, part in enumerate(holdout["part"]) if part == "train"]
    assert training_subset(holdout, "full").tolist() == expected
    assert training_subset(holdout, "p100").tolist() == expected


def test_subsets_are_nested_hold_whole_patients_and_are_never_larger_than_asked(samples, holdout):
    total = int((holdout["part"] == "train").sum())
    smaller: set[int] = set()
    for size in range(4, total + 1):
        rows = training_subset(holdout, f"n{size}")
        assert smaller <= set(rows)
        assert size - 3 <= len(rows) <= size
        inside = samples["patient"].isin(samples["patient"].iloc[rows])
        assert (inside & (holdout["part"] == "train")).sum() == len(rows)
        assert (np.diff(rows) > 0).all()
        smaller = set(rows)
    assert len(smaller) == total


def test_a_percentage_is_of_the_training_images(holdout):
    total = int((holdout["part"] == "train").sum())
    for percent in (5, 10, 50, 90):
        size = len(training_subset(holdout, f"p{percent}"))
        assert total * percent / 100 - 3.5 <= size <= total * percent / 100 + 0.5


def test_the_smallest_subset_holds_the_first_patient(holdout):
    ranks = holdout["training_rank"][holdout["part"] == "train"]
    rows = training_subset(holdout, "n1")
    assert set(holdout["training_rank"].iloc[rows]) == {ranks.min()}
    assert len(rows) == ranks.min()


def test_small_subsets_are_balanced_over_the_classes(samples, holdout):
    train = samples[holdout["part"] == "train"].drop_duplicates("patient")
    share = train["label"].mean()
    for size in (40, 80, 160):
        rows = training_subset(holdout, f"n{size}")
        chosen = samples.iloc[rows].drop_duplicates("patient")
        assert abs(chosen["label"].sum() - share * len(chosen)) <= 2


def test_a_subset_larger_than_the_training_part_is_refused(holdout):
    total = int((holdout["part"] == "train").sum())
    assert total < 500
    with pytest.raises(ConfigError, match=f"subset 'n500' of {total} training images; .*n{total}"):
        training_subset(holdout, "n500")


# subsets that are drawn anew for each seed


def redrawn(split: pd.DataFrame, size: int, seed: int) -> set[int]:
    return set(training_subset(split, f"n{size}-redrawn", seed).tolist())


@pytest.mark.parametrize("seed", [0, 17])
def test_redrawn_subsets_are_nested_within_a_seed_and_hold_whole_patients(samples, holdout, seed):
    in_train = (holdout["part"] == "train").to_numpy()
    total = int(in_train.sum())
    smaller: set[int] = set()
    for size in [*range(4, total, 3), total]:
        rows = training_subset(holdout, f"n{size}-redrawn", seed)
        assert smaller <= set(rows)
        assert size - 3 <= len(rows) <= size
        assert in_train[rows].all()
        inside = samples["patient"].isin(samples["patient"].iloc[rows])
        assert (inside & in_train).sum() == len(rows)
        assert (np.diff(rows) > 0).all()
        smaller = set(rows)
    assert len(smaller) == total
    assert training_subset(holdout, "p100-redrawn", seed).tolist() == np.flatnonzero(in_train).tolist()


def test_each_seed_draws_a_subset_of_its_own_and_the_same_again(holdout):
    drawn = [redrawn(holdout, 100, seed) for seed in range(10)]
    assert drawn == [redrawn(holdout, 100, seed) for seed in range(10)]
    fixed = set(training_subset(holdout, "n100", 3).tolist())
    assert fixed == set(training_subset(holdout, "n100").tolist())
    total = int((holdout["part"] == "train").sum())
    shared = [len(a & b) / 100 for a, b in itertools.combinations([fixed, *drawn], 2)]
    assert abs(np.mean(shared) - 100 / total) < 0.04
    assert max(shared) < 0.7


def test_every_training_patient_is_drawn_as_often_as_any_other(samples, holdout):
    in_train = (holdout["part"] == "train").to_numpy()
    counts = np.zeros(len(samples))
    for seed in range(200):
        counts[training_subset(holdout, "p25-redrawn", seed)] += 1
    shares = counts[in_train] / 200
    # whole patients make subsets a little smaller
    assert abs(shares.mean() - 0.25) < 0.01
    assert np.abs(shares - shares.mean()).max() < 4.5 * np.sqrt(0.25 * 0.75 / 200)


@pytest.mark.parametrize("seed", range(12))
def test_redrawn_subsets_are_balanced_over_the_classes(samples, holdout, seed):
    train = samples[holdout["part"] == "train"].drop_duplicates("patient")
    share = train["label"].mean()
    for size in (40, 80, 160):
        chosen = samples.iloc[sorted(redrawn(holdout, size, seed))].drop_duplicates("patient")
        assert abs(chosen["label"].sum() - share * len(chosen)) <= 1


def test_redrawn_subsets_keep_duplicates_together(samples):
    listed = published(samples)
    training = listed[listed["published_part"] == "train"].drop_duplicates("patient")
    first, second = training["image_id"].iloc[:2]

    def drawn_apart(*found: tuple[str, str, str]) -> list[bool]:
        table = make_split(listed, settings(split="s"), "published", pairs(*found))
        draws = [training_subset(table, "p50-redrawn", seed) for seed in range(20)]
        chosen = [set(table["image_id"].iloc[rows]) for rows in draws]
        assert {first in ids for ids in chosen} == {True, False}
        return [(first in ids) != (second in ids) for ids in chosen]

    assert any(drawn_apart())
    assert not any(drawn_apart((first, second, "near")))


def test_redrawn_subsets_do_not_depend_on_the_order_of_the_rows(samples, holdout):
    shuffled = samples.sample(frac=1, random_state=5).reset_index(drop=True)
    other = make_split(shuffled, settings(), "holdout")
    one = set(holdout["image_id"].iloc[training_subset(holdout, "p30-redrawn", 4)])
    assert one == set(other["image_id"].iloc[training_subset(other, "p30-redrawn", 4)])


def test_the_draw_of_a_subset_is_not_the_draw_of_a_split_of_the_same_seed(holdout):
    fixed = set(training_subset(holdout, "p20").tolist())
    again = set(training_subset(holdout, "p20-redrawn", 0).tolist())
    assert len(fixed & again) < 0.5 * len(fixed)


def test_a_redrawn_subset_needs_a_seed(holdout):
    with pytest.raises(ValueError, match="subset 'p10-redrawn' is drawn anew for each seed"):
        training_subset(holdout, "p10-redrawn")


def test_strata_are_named_in_the_training_part_only(samples, holdout):
    in_train = (holdout["part"] == "train").to_numpy()
    assert (holdout["stratum"][~in_train] == "").all()
    labels = samples["label"][in_train].map({0: "000000", 1: "000001"})
    assert holdout["stratum"][in_train].tolist() == labels.tolist()
