"""The search of a learning rate: its candidates, their runs, and the choice among them."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import yaml

from medtransfer.config.argument import as_argument
from medtransfer.config.load import load_config
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import NAME
from medtransfer.config.recipe import (
    CaseSettings,
    HeadStageSettings,
    Monitor,
    RecipeSettings,
    SearchSettings,
)
from medtransfer.config.runs import (
    Run,
    all_runs,
    candidate_runs,
    needed_weights,
    searched_cells,
    study_runs,
    with_pretraining,
)
from medtransfer.config.search import candidate_recipes, with_choice, without_search
from medtransfer.config.typed import parse
from medtransfer.errors import ConfigError, TrainingError
from medtransfer.training.divergence import train_candidate
from medtransfer.training.job import HISTORY, PREDICTIONS, Store, train_run
from medtransfer.training.search import SEARCHES, choose_rate, search_table
from medtransfer.training.specification import Specification

RATES = (0.1, 0.001, 0.01)
MONITORS = get_args(Monitor)
CELL = ("tiny", "chest", "cbr", "random", "full", "holdout")


def recipe(rates: tuple[float, ...] = RATES, /, **settings: Any) -> RecipeSettings:
    search = SearchSettings(rates, **settings.pop("search", {}))
    return RecipeSettings(**({"epochs": 3.0} | settings), search=search)


# the candidates


def test_a_candidate_is_the_recipe_at_its_rate_without_a_search():
    found = candidate_recipes("tiny", recipe(momentum=0.5, learning_rate=7.0))
    assert found == {
        f"tiny.lr{rate}": RecipeSettings(epochs=3.0, momentum=0.5, learning_rate=rate) for rate in RATES
    }
    assert candidate_recipes("tiny", RecipeSettings(steps=1)) == {}


def test_names_depend_on_the_rate_only_and_tell_all_rates_apart():
    rates = (1e-5, 0.00001234567, 0.000012345671, 0.1 + 0.2, 0.3, 3.0)
    names = list(candidate_recipes("r", recipe(rates)))
    assert len(set(names)) == len(rates)
    assert all(NAME.fullmatch(name) for name in names)
    assert sorted(candidate_recipes("r", recipe(rates[::-1]))) == sorted(names)
    assert float(names[3].removeprefix("r.lr")) == 0.1 + 0.2


@pytest.mark.parametrize("budget", [{"steps": 5}, {"epochs": 0.5}])
def test_the_budget_of_a_search_replaces_that_of_the_recipe_and_of_its_cases(budget):
    cases = (CaseSettings(images_below=50, steps=1000, mixup=0.2, resize=32),)
    (found, *_) = candidate_recipes("r", recipe(search=budget, cases=cases)).values()
    expected = RecipeSettings(**budget, learning_rate=0.1)
    applied = found.for_data(images=40, side=64)
    assert applied.total_steps(40) == expected.total_steps(40)
    assert (applied.mixup, applied.resize) == (0.2, 32)


def test_without_a_budget_of_its_own_a_candidate_keeps_those_of_the_cases():
    cases = (CaseSettings(images_below=50, steps=1000),)
    (found, *_) = candidate_recipes("r", recipe(cases=cases)).values()
    assert found.for_data(images=40, side=64).total_steps(40) == 1000


def test_the_rate_of_the_head_s_own_stage_is_not_searched():
    head = HeadStageSettings(learning_rate=0.5, steps=2)
    found = candidate_recipes("r", recipe(head_first=head)).values()
    assert {candidate.head_first for candidate in found} == {head}


@pytest.mark.parametrize("rates", [[0.0, 0.1], [0.1], [], [0.1, 0.1], [-0.1, 0.1], [0.1, math.nan]])
def test_rates_are_positive_several_and_different(rates):
    with pytest.raises(ConfigError, match="learning_rates"):
        parse(SearchSettings, {"learning_rates": rates}, "search")


# what decides the runs beside the choice


def test_neither_the_candidates_nor_its_own_rate_decide_a_searched_run():
    changed = recipe((0.5, 0.2), learning_rate=0.77, search={"steps": 9, "seed": 4})
    assert as_argument(without_search(changed)) == as_argument(without_search(recipe()))
    assert as_argument(without_search(recipe(momentum=0.1))) != as_argument(without_search(recipe()))


def test_a_recipe_without_a_search_stays_as_it_is():
    plain = RecipeSettings(steps=2, learning_rate=0.77)
    assert without_search(plain) is plain
    assert with_choice(plain, None) is plain


def test_a_run_takes_the_chosen_rate():
    taken = with_choice(without_search(recipe(learning_rate=0.77, momentum=0.5)), 0.01)
    assert taken == RecipeSettings(epochs=3.0, momentum=0.5, learning_rate=0.01)


def test_a_search_without_its_choice_is_an_error():
    with pytest.raises(ConfigError, match="no choice is given"):
        with_choice(recipe(), None)


# the runs of a study


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two networks of which one takes the other's weights; a recipe with a search and one without."""
    data = {"task": "binary", "labels": "y", "classes": ["a", "b"], "image_size": 16}
    parts = {
        "datasets/spots": {"manifest": "m.csv", **data},
        "datasets/shapes": {"manifest": "n.csv", **data},
        "models/whole": {"architecture": "cbr"},
        "models/half": {"architecture": "cbr", "first_units": 2, "weights_of": "whole"},
        "recipes/plain": {"steps": 3},
        "recipes/tuned": {"steps": 3, "search": {"learning_rates": [0.1, 0.01], "seed": 9}},
        "sources/made": {"pretraining": {"dataset": "shapes", "recipe": "tuned"}},
        "sources/read": {"files": {"whole": {"path": "w.safetensors", "mean": [0.5], "std": [0.5]}}},
    }
    for name, content in parts.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return tmp_path


def study(**keys: Any) -> dict[str, Any]:
    grid = {"recipe": "tuned", "datasets": ["spots"], "models": ["whole"], "inits": ["random"], **keys}
    return {"studies": {"mine": {"title": "t", "grids": [grid]}}}


def test_a_cell_has_one_run_a_candidate_whatever_its_seeds(library):
    config = load_config(study(seeds=[0, 1, 2], subsets=["full", "n5"]), [library])
    runs, studied = all_runs(config), study_runs(config.studies["mine"])
    assert set(runs) - set(studied) == {
        Run(f"tuned.lr{rate}", "spots", "whole", "random", subset, "holdout", 9)
        for rate in (0.1, 0.01) for subset in ("full", "n5")
    }  # fmt: skip
    cells = ["tuned/spots/whole/random/full/holdout", "tuned/spots/whole/random/n5/holdout"]
    assert searched_cells(runs, config) == cells
    assert all(run.recipe in config.recipes for run in runs)


def test_a_study_lists_no_candidate(library):
    config = load_config(study(), [library])
    assert {run.recipe for run in study_runs(config.studies["mine"])} == {"tuned"}


def test_pre_training_with_a_search_has_candidates_too(library):
    config = load_config(study(recipe="plain", inits=["random", "made"], seeds=[0]), [library])
    pretraining = Run("tuned", "shapes", "whole", "random", "full", "holdout", 0)
    assert with_pretraining(study_runs(config.studies["mine"]), config)[-1] == pretraining
    assert set(candidate_runs(pretraining, config)) == {
        Run(f"tuned.lr{rate}", "shapes", "whole", "random", "full", "holdout", 9)
        for rate in (0.1, 0.01)
    }
    assert len(all_runs(config)) == 2 + 1 + 2


def test_a_recipe_with_the_name_of_a_candidate_is_an_error(library):
    (library / "recipes/tuned.lr0.01.yaml").write_text("steps: 1")
    with pytest.raises(ConfigError, match=r"'tuned\.lr0\.01' has the name of a candidate.*'tuned'"):
        load_config(study(), [library])
    (library / "recipes/tuned.lr0.01.yaml").unlink()
    with pytest.raises(ConfigError, match="has the name of a candidate"):
        load_config(study() | {"recipes": {"tuned.lr0.1": {"steps": 1}}}, [library])
    load_config(study() | {"recipes": {"tuned.lr0.2": {"steps": 1}}}, [library])


# networks that take another's weights


def test_a_network_takes_the_weights_of_the_one_it_names(library):
    config = load_config(study(models=["half"], inits=["random", "made", "read"]), [library])
    runs = study_runs(config.studies["mine"])
    assert needed_weights(runs, config.models) == [("made", "whole"), ("read", "whole")]
    (pretraining,) = set(with_pretraining(runs, config)) - set(runs)
    assert (pretraining.model, pretraining.dataset) == ("whole", "shapes")
    assert config.models["whole"].weights_of is None


def test_twins_share_one_pre_training_run(library):
    config = load_config(
        study(recipe="plain", models=["half", "whole"], inits=["random", "made"]), [library]
    )
    runs = study_runs(config.studies["mine"])
    assert len(with_pretraining(runs, config)) == len(runs) + 1


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"twin": {"weights_of": "whale"}}, r"models\.twin\.weights_of: unknown name 'whale'.*'whole'"),
        (
            {"twin": {"weights_of": "half"}},
            r"models\.twin\.weights_of: 'half' takes the weights of anot",
        ),
        (
            {"twin": {"weights_of": "twin"}},
            r"models\.twin\.weights_of: 'twin' takes the weights of anot",
        ),
        (
            {"twin": {"weights_of": "other"}, "other": {}},
            r"source 'read' has no weights of 'other' \(it has: whole\)",
        ),
    ],
)
def test_weights_of_must_name_a_network_with_weights_of_its_own(models, message, library):
    settings = study(models=["twin"], inits=["random", "read"])
    settings["models"] = {name: {"architecture": "cbr", **keys} for name, keys in models.items()}
    with pytest.raises(ConfigError, match=message):
        load_config(settings, [library])


# the choice


def wins(rate: float, values: dict[float, float], monitor: str) -> bool:
    """Whether every other candidate is worse, or equal at a higher rate, or has no value."""
    if math.isnan(values[rate]):
        return False
    gain = {"loss": -1, "metric": 1, "accuracy": 1}[monitor]
    own = (gain * values[rate], -rate)
    return all(math.isnan(v) or r == rate or own > (gain * v, -r) for r, v in values.items())


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_choice_beats_every_other_candidate_in_every_order(monitor):
    for numbers in itertools.product((0.2, 0.5, math.nan), repeat=3):
        for values in itertools.permutations(zip((0.001, 0.01, 0.1), numbers, strict=True)):
            winners = [rate for rate, _ in values if wins(rate, dict(values), monitor)]
            assert len(winners) == (not all(map(math.isnan, numbers)))
            if winners:
                assert choose_rate(dict(values), monitor) == winners[0]


def test_a_lower_loss_is_better_and_a_higher_metric():
    values = {0.1: 0.3, 0.01: 0.9}
    found = {monitor: choose_rate(values, monitor) for monitor in MONITORS}
    assert found == {"metric": 0.01, "loss": 0.1, "accuracy": 0.01}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_value_at_all_is_an_error_that_names_the_rates(bad):
    assert choose_rate({0.1: bad, 0.2: -5.0}, "metric") == 0.2
    assert choose_rate({0.1: bad, 0.2: 5.0}, "loss") == 0.2
    with pytest.raises(TrainingError, match=r"tried: 0\.1, 3.*diverged.*'learning_rates'"):
        choose_rate({3.0: bad, 0.1: bad}, "loss")


def record(rate: float, value: float = 0.5, monitor: str = "metric", **facts: Any) -> dict[str, Any]:
    """What a run's record holds, with other numbers that would lead elsewhere."""
    return {
        "recipe": {"learning_rate": rate, "monitor": monitor}, "seed": 9, "metric": "auprc",
        "best_step": 4, "best_validation_metric": -value, "best_monitored_value": value,
        "training_seconds": 1.0, **facts,
    }  # fmt: skip


def test_the_table_has_the_monitored_values_in_the_order_of_rates():
    table = search_table(CELL, [record(0.1, 0.6), record(0.001, 0.7), record(0.01, 0.8)])
    SEARCHES.check(table)
    assert table["learning_rate"].tolist() == [0.001, 0.01, 0.1]
    assert table["value"].tolist() == [0.7, 0.8, 0.6]
    assert table["chosen"].tolist() == [False, True, False]
    assert set(table["edge"]) == {"no"}
    assert tuple(table.iloc[1][["recipe", "dataset", "model", "init", "subset", "split"]]) == CELL
    assert (set(table["seed"]), set(table["metric"]), set(table["best_step"])) == (
        {9},
        {"auprc"},
        {4.0},
    )


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_recipe_s_monitor_decides_which_direction_is_better(monitor):
    table = search_table(CELL, [record(0.1, 0.1, monitor), record(0.2, 0.2, monitor)])
    (chosen,) = table.loc[table["chosen"], "learning_rate"]
    assert chosen == (0.1 if monitor == "loss" else 0.2)
    assert set(table["monitor"]) == {monitor}


@pytest.mark.parametrize(("best", "edge"), [(0, "lower"), (1, "no"), (2, "upper")])
def test_a_choice_at_the_edge_is_marked_on_the_chosen_row_only(best, edge):
    records = [record(rate, 0.9 if i == best else 0.1) for i, rate in enumerate((0.1, 0.2, 0.3))]
    assert search_table(CELL, records)["edge"].tolist() == [
        edge if i == best else "no" for i in range(3)
    ]


def test_beside_a_candidate_that_diverged_there_is_no_edge():
    diverged = {"diverged": "the loss is not finite", "recipe": record(0.3)["recipe"]}
    diverged |= {"seed": 9, "metric": "auprc"}
    table = search_table(CELL, [diverged, record(0.1, 0.5), record(0.2, 0.6)])
    SEARCHES.check(table)
    assert table["chosen"].tolist() == [False, True, False]
    assert set(table["edge"]) == {"no"}
    assert np.isnan(table["value"].iloc[2]) and np.isnan(table["best_step"].iloc[2])


def test_equal_values_take_the_lowest_rate_whatever_their_order():
    for order in itertools.permutations(RATES):
        assert search_table(CELL, [record(rate) for rate in order])["chosen"].tolist() == [
            True,
            False,
            False,
        ]


# candidates that diverge


def specification(learning_rate: float) -> Specification:
    return Specification(
        task="binary", outputs=("sick",), metric="auroc",
        model=ModelSettings("cbr", {"channels": [4], "kernel_size": 3}),
        recipe=RecipeSettings(
            optimizer="sgd", learning_rate=learning_rate, steps=6, batch_size=8, validations=2
        ),
        init="random", seed=0, mean=(0.5,), std=(0.25,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def store() -> Store:
    generator = np.random.default_rng(0)
    ids = [f"{i:02}" for i in range(32)]
    parts = ["train"] * 16 + ["validation"] * 8 + ["test"] * 8
    samples = pd.DataFrame({"image_id": ids, "patient": ids, "label": [0, 1] * 16})
    ranks = [*range(1, 17), *[0] * 16]
    split = pd.DataFrame({"image_id": ids, "part": parts, "training_rank": ranks})
    return Store(generator.integers(0, 255, (32, 16, 16, 1), dtype=np.uint8), samples, split)


def test_a_candidate_that_diverges_leaves_empty_tables_and_a_record_that_says_so(store):
    diverging = specification(1e30)
    with pytest.raises(TrainingError, match="not finite"):
        train_run(diverging, store, "full", {}, "cpu")
    result = train_candidate(diverging, store, "full", {}, "cpu")
    PREDICTIONS.check(result.predictions)
    HISTORY.check(result.history)
    assert (result.weights, len(result.predictions), len(result.history)) == ({}, 0, 0)
    facts = json.loads(json.dumps(result.facts))
    assert "not finite" in facts["diverged"]
    table = search_table(CELL, [facts, record(0.1, 0.5)])
    assert table["value"].isna().tolist() == [False, True]


def test_any_other_candidate_is_a_run_as_others(store):
    runs = [run(specification(0.01), store, "full", {}, "cpu") for run in (train_run, train_candidate)]
    pd.testing.assert_frame_equal(runs[0].predictions, runs[1].predictions)
    (row,) = search_table(CELL, [runs[1].facts]).itertuples()
    best = runs[1].history.query(f"step == {row.best_step}")
    assert row.value == best["validation_metric"].item() == runs[1].history["validation_metric"].max()
