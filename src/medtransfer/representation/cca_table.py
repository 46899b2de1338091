"""Canonical correlations of corresponding points of related networks, as tidy tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from medtransfer.representation.activations import Activations
from medtransfer.representation.cca import Subspace, subspace
from medtransfer.representation.cca_protocols import (
    TOP_UNITS,
    Representation,
    SampledCCA,
    channel_blocks,
    compare_blocks,
    pair_kind,
    represented,
    similarities,
    top_layer_comparison,
)
from medtransfer.representation.cka_table import check_same_images
from medtransfer.representation.folding import row_sample
from medtransfer.representation.pairs import PAIR_COLUMNS, Network, NetworkPair, network_pairs
from medtransfer.tables import Column, Schema

CCA = Schema(
    name="cca",
    row="one measure of canonical correlation of two networks at one point",
    columns={
        **PAIR_COLUMNS,
        "point": Column("text", "where in both networks"),
        "order": Column("integer", "place of the point in the order of depth, from 0"),
        "measure": Column(
            "text",
            "cca, svcca, pwcca (weights on a) or sampled_channels (64 channels, five repeats)",
        ),
        "value": Column("number", "mean correlation, from 0 to 1; weighted for pwcca"),
        "baseline": Column("number", "the same with the images of b shuffled; empty for one image"),
        "rows": Column("integer", "rows compared: positions of images"),
        "channels_a": Column("integer", "channels of a that went in"),
        "channels_b": Column("integer", "channels of b that went in"),
        "reliable": Column(
            "truth",
            "whether there are 5 rows or more for each direction, and all that is asked for",
        ),
    },
    families={},
)
TRAINED_KINDS = ("inits", "seeds")


def cca_table(networks: Mapping[Network, Activations], seed: int = 0) -> pd.DataFrame:
    """Mean CCA, SVCCA, PWCCA and study 4's sampled channels at every point that has rows.

    Args:
        networks: of one data set and split, in the order of a study, with their activations.
        seed: of the shuffles.

    Returns:
        A table of schema CCA.

    Raises:
        DataError: the networks' activations are of different images.
    """
    check_same_images(networks)
    pairs = [pair for pair in network_pairs(list(networks)) if pair.kind != "within"]
    names = dict.fromkeys(name for found in networks.values() for name in found.facts.cca_points)
    parts = [_point_table(name, pairs, networks, seed) for name in names]
    columns = list(CCA.columns)
    return pd.concat([pd.DataFrame(columns=columns), *parts], ignore_index=True)[columns].astype(
        {
            **dict.fromkeys(("seed_a", "seed_b", "order", "rows", "channels_a", "channels_b"), "int64"),
            **dict.fromkeys(("value", "baseline"), float),
            "reliable": bool,
        }
    )


def top_layers(table: pd.DataFrame) -> pd.DataFrame:
    """How alike trained networks are near the output, by how they started (study 2, figure 2).

    Networks that are cut so short that they have one point only are left out.

    Args:
        table: of schema CCA.

    Returns:
        A table of schema TOP_LAYERS.
    """
    trained = table[table["pair"].isin(TRAINED_KINDS) & (table["moment_a"] == "end")]
    measured = trained.groupby(["recipe_a", "model_a", "subset_a"])["point"].transform("nunique")
    trained = trained[measured >= TOP_UNITS]
    starts = zip(trained["init_a"], trained["init_b"], strict=True)
    kinds = pd.Series([pair_kind(a, b) for a, b in starts], trained.index, dtype=object)
    view = trained.assign(
        pair=kinds,
        model=trained["model_a"] + _where_several(trained, "recipe_a", "subset_a"),
        unit=trained["point"],
        a=_identity(trained, "a"),
        b=_identity(trained, "b"),
    )
    ordered = view.drop_duplicates(["model", "unit"]).sort_values("order")
    units = {str(model): list(part["unit"]) for model, part in ordered.groupby("model")}
    return top_layer_comparison(view, units)


def _where_several(table: pd.DataFrame, *names: str) -> pd.Series:
    """What sets runs of one network apart, as part of its name; nothing where all have the same."""
    parts = pd.Series("", table.index, dtype=object)
    for name in names:
        if table[name].nunique() > 1:
            parts += ", " + table[name]
    return parts


def _identity(table: pd.DataFrame, side: str) -> pd.Series:
    names = ["split", *(f"{name}_{side}" for name in ("recipe", "init", "subset", "seed"))]
    rows = table[names].astype(str).itertuples(index=False)
    return pd.Series(["/".join(row) for row in rows], table.index, dtype=object)


def _point_table(
    name: str, pairs: Sequence[NetworkPair], networks: Mapping[Network, Activations], seed: int
) -> pd.DataFrame:
    """All pairs at one point; each network is factored once."""
    having = {n: found for n, found in networks.items() if name in found.facts.cca_points}
    wholes = {network: represented(found.rows(name)) for network, found in having.items()}
    sampled = {
        network: [subspace(block) for block in found.channel_blocks(name)]
        for network, found in having.items()
    }
    rows = []
    for pair in pairs:
        if pair.a in having and pair.b in having:
            facts = (having[pair.a], name, seed)
            complete = all(_complete(having[side], name) for side in (pair.a, pair.b))
            found = pd.concat(
                [
                    _whole_rows(wholes[pair.a], wholes[pair.b], facts),
                    _sampled_row(sampled[pair.a], sampled[pair.b], facts, complete),
                ],
                ignore_index=True,
            )
            order = [point.name for point in having[pair.a].facts.points].index(name)
            place = pd.DataFrame([pair.columns | {"point": name, "order": order}] * len(found))
            rows.append(place.join(found))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(CCA.columns))


def _whole_rows(
    a: Representation, b: Representation, facts: tuple[Activations, str, int]
) -> pd.DataFrame:
    found, name, seed = facts
    positions = found.facts.point(name).positions
    images, _ = row_sample(found.facts.probe, positions, found.facts.row_count, found.facts.seed)
    return similarities(a, b, groups=images, seed=seed)


def _complete(found: Activations, name: str) -> bool:
    """Whether there are as many images and channels as the sampled channels ask for."""
    point = found.facts.point(name)
    asked = channel_blocks(found.facts.probe, point.positions, point.channels, found.facts.seed)
    return all(block.complete for block in asked)


def _sampled_row(
    a: Sequence[Subspace],
    b: Sequence[Subspace],
    facts: tuple[Activations, str, int],
    complete: bool,
) -> pd.DataFrame:
    found, name, seed = facts
    result: SampledCCA = compare_blocks(a, b, found.facts.point(name).positions, seed=seed)
    return pd.DataFrame(
        {
            "measure": ["sampled_channels"],
            "value": result.value,
            "baseline": result.baseline,
            "rows": result.rows,
            "channels_a": result.channels_x,
            "channels_b": result.channels_y,
            "reliable": result.reliable and complete,
        }
    )
