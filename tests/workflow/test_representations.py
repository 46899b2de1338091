"""What is asked of hidden layers, from finished runs to figures."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import MINI, Workspace, analysed

from medtransfer.config.figures import ALL_FIGURES

# some minutes, and what `make demo` does on more runs
pytestmark = pytest.mark.slow

# a start, its end, and a test part that fills two blocks
ASKED = analysed(MINI, seeds=[0, 1], probe_images=16, gram_block=8, bank_images=60)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("analysed"))
    workspace.write_study(ASKED)
    workspace.snakemake("all")
    return workspace


def table(workspace: Workspace, name: str) -> pd.DataFrame:
    return pd.read_parquet(workspace.folder / f"results/representation/mini/{name}.parquet")


def test_every_figure_is_there(done):
    files = {path.name for path in (done.folder / "results/figures/mini").iterdir()}
    assert files == {f"{name}.{suffix}" for name in ALL_FIGURES for suffix in ("pdf", "png", "csv")}


def test_every_analysed_run_is_in_every_table(done):
    inits = {"random", "shapes-stats", "shapes"}
    for name in ("knn", "weight_distance", "reinitialisation", "filters", "filter_weights"):
        found = table(done, f"chest.{name}")
        assert set(found["init"]) == inits, name
        assert set(found["seed"]) == {0, 1}, name
    for name in ("cka", "cca", "agreement"):
        found = table(done, f"chest.{name}")
        assert {*found["init_a"], *found["init_b"]} == inits, name


def test_a_network_is_itself_and_shuffled_images_are_nothing(done):
    cka = table(done, "chest.cka")
    same = cka[(cka["pair"] == "within") & (cka["point_a"] == cka["point_b"])]
    assert same["value"].to_numpy() == pytest.approx(1.0, abs=1e-4)
    assert cka["baseline"].abs().mean() < 0.2


def test_the_intact_metric_is_that_of_the_evaluation(done):
    scores = table(done, "chest.reinitialisation")
    metrics = pd.read_parquet(done.folder / "results/evaluation/mini/chest.metrics.parquet")
    test = metrics[metrics["target"] & (metrics["part"] == "test")].set_index(["init", "seed"])["value"]
    for run, rows in scores.groupby(["init", "seed"]):
        assert (rows["value"] + rows["drop"]).to_numpy() == pytest.approx(test[run], abs=1e-9)


def test_distances_and_scores_are_of_every_data_set(done):
    assert set(table(done, "domain_distance")["dataset"]) == {"chest"}
    scores = table(done, "transferability")
    assert set(scores["source"]) == {"shapes"}
    assert scores["gain"].notna().all()


def test_activations_are_gone_and_nothing_is_left_to_do(done):
    assert not list((done.folder / "results/activations").rglob("*.safetensors"))
    assert done.planned() == {}


def test_a_lost_figure_costs_no_extraction(done):
    (done.folder / "results/figures/mini/cka.pdf").unlink()
    assert done.planned() == {"figure_cka": 1, "report_page": 1, "all": 1}
