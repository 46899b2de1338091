"""A search of the learning rate: what is chosen, what takes the choice, what a change repeats."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
from conftest import MINI, Workspace, searched

CELL = "tuned/chest/cbr/random/full/holdout"
# nothing is learned at the first, so that the second has the lower loss
RATES = [1e-9, 0.03]
DIVERGING = 1e30


def study(rates: list[float], **search: object) -> dict:
    """One init, two seeds, no figures; the loss decides, of candidates of fewer steps than the runs."""
    settings = searched(copy.deepcopy(MINI), learning_rates=rates, **{"steps": 6, **search})
    settings["studies"]["mini"]["grids"][0]["inits"] = ["random"]
    settings["studies"]["mini"]["figures"] = []
    settings["recipes"]["tuned"] |= {"monitor": "loss", "steps": 8, "warmup": 0.0}
    return settings


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("searched"))
    workspace.write_study(study(RATES))
    workspace.snakemake()
    return workspace


@pytest.fixture(autouse=True)
def first_study(finished) -> None:
    finished.write_study(study(RATES))


@pytest.fixture
def changed(finished) -> Workspace:
    """The finished study, whose files a test may change."""
    yield finished
    finished.write_study(study(RATES))
    finished.snakemake("searches")
    finished.snakemake()


def record(workspace: Workspace, run: str) -> dict:
    return json.loads((workspace.folder / "results/runs" / run / "run.json").read_text())


def candidate(rate: float, seed: int = 5) -> str:
    return CELL.replace("tuned", f"tuned.lr{rate!r}") + f"/seed{seed}"


def candidates(workspace: Workspace) -> pd.DataFrame:
    path = workspace.folder / "results/searches" / CELL / "candidates.parquet"
    return pd.read_parquet(path).set_index("learning_rate")


def page(workspace: Workspace) -> str:
    return (workspace.folder / "results/mini/report.html").read_text()


def test_the_runs_take_the_rate_of_the_candidate_with_the_lowest_validation_loss(finished):
    losses = {}
    for rate in RATES:
        made = record(finished, candidate(rate))["recipe"]
        assert (made["learning_rate"], made["steps"]) == (rate, 6)
        curve = finished.folder / "results/runs" / candidate(rate) / "history.parquet"
        losses[rate] = pd.read_parquet(curve)["validation_loss"].min()
    assert losses[0.03] < losses[1e-9]
    assert candidates(finished)["value"].to_dict() == pytest.approx(losses)
    for seed in (0, 1):
        recipe = record(finished, f"{CELL}/seed{seed}")["recipe"]
        assert (recipe["learning_rate"], recipe["steps"], recipe["search"]) == (0.03, 8, None)


def test_the_study_s_tables_hold_no_candidate(finished):
    for name in ("runs", "chest.metrics", "chest.curves"):
        table = pd.read_parquet(finished.folder / f"results/evaluation/mini/{name}.parquet")
        assert set(table["recipe"]) == {"tuned"}
        assert set(table["seed"]) == {0, 1}


def test_the_page_shows_what_every_candidate_reached_and_the_choice(finished):
    text = page(finished)
    values = "".join(f"<td class='number'>{v:.3f}</td>" for v in candidates(finished)["value"])
    assert f"<td>loss</td><td>the highest candidate</td>{values}<td class='number'>0.03</td>" in text


def test_a_finished_search_has_nothing_to_do_in_any_order_and_at_any_rate_of_the_recipe_s_own(finished):
    assert finished.planned() == {}
    settings = study(RATES[::-1])
    settings["recipes"]["tuned"]["learning_rate"] = 0.77
    finished.write_study(settings)
    # the report shows the settings as they are written
    assert finished.planned() == {"report_page": 1, "all": 1}


@pytest.mark.slow
def test_another_losing_candidate_repeats_the_choice_and_no_run_even_if_it_diverges(changed):
    changed.write_study(study([DIVERGING, *RATES]))
    assert changed.planned("searches") == {"train": 1, "choose_rate": 1, "searches": 1}
    changed.snakemake("searches")
    assert changed.planned() == {"run_records": 1, "report_page": 1, "all": 1}
    changed.snakemake()
    assert "not finite" in record(changed, candidate(DIVERGING))["diverged"]
    assert candidates(changed)["value"].isna().to_dict() == {1e-9: False, 0.03: False, 1e30: True}
    assert "<td class='number'>diverged</td><td class='number'>0.03</td>" in page(changed)
    assert "choices are the lowest or highest" not in page(changed)


def test_without_the_winner_the_runs_are_repeated_at_the_next_best_rate(changed):
    changed.write_study(study([1e-9, DIVERGING]))
    changed.snakemake("searches")
    choice = changed.folder / "results/searches" / CELL / "choice.json"
    assert json.loads(choice.read_text()) == {"learning_rate": 1e-9}
    assert changed.planned("train_all") == {"train": 2, "train_all": 1}


@pytest.mark.parametrize("search", [{"seed": 6}, {"steps": 7}])
def test_another_seed_or_budget_of_the_search_repeats_its_candidates(search, finished):
    finished.write_study(study(RATES, **search))
    assert finished.planned("searches") == {"train": 2, "choose_rate": 1, "searches": 1}


@pytest.mark.slow
def test_a_search_in_which_every_candidate_diverges_says_so(changed):
    changed.write_study(study([DIVERGING, 2 * DIVERGING]))
    result = changed.snakemake("searches", check=False)
    output = result.stdout + result.stderr
    assert result.returncode
    assert (
        "no candidate of the search has a value on the validation part (tried: 1e+30, 2e+30)" in output
    )
    assert "Traceback" not in output
