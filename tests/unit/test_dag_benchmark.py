"""What keeps the rules quick to read and to plan, and the parts of the benchmark of that."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from medtransfer.config.load import load_config
from medtransfer.config.model import ModelSettings
from medtransfer.config.names import Init
from medtransfer.config.runs import all_runs, by_dataset
from medtransfer.config.study import Config
from medtransfer.config.typed import read_yaml
from medtransfer.planning.network_costs import Network, as_table, cost_of, known_costs
from medtransfer.planning.networks import count

ROOT = Path(__file__).parents[2]
# takes a second or more to import
SLOW = ["torch", "timm", "sklearn", "scipy", "statsmodels", "matplotlib"]
# the names of these modules that are imported once all rules are read, said on stderr
READ_RULES = f"""
import atexit, sys
def say():
    found = [name for name in {SLOW} if name in sys.modules]
    ours = [name for name in sys.modules if name.startswith("medtransfer.")]
    light = ("medtransfer.config", "medtransfer.planning")
    print("IMPORTED", found, sorted(n for n in ours if not n.startswith(light)), file=sys.stderr)
atexit.register(say)
read = []
sys.addaudithook(lambda event, given: read.append(str(given[0])) if event == "open" else None)
atexit.register(lambda: print(
    "READ", [p for p in read if p.endswith(".py") and "/workflow/scripts/" in p], file=sys.stderr
))
from snakemake.cli import main
main(["--list-rules", "--snakefile", {str(ROOT / "Snakefile")!r}])
"""


@pytest.fixture(scope="module")
def dag() -> Iterator[ModuleType]:
    """The benchmark, which lies in a folder that is no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield __import__("dag")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        sys.modules.pop("dag", None)


def test_reading_the_rules_imports_no_slow_package_and_reads_no_script(tmp_path):
    pytest.importorskip("snakemake")
    done = subprocess.run(
        [sys.executable, "-c", READ_RULES],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "train" in done.stdout.split()
    assert "IMPORTED [] ['medtransfer.code_fingerprint', 'medtransfer.errors']" in done.stderr
    assert "READ []" in done.stderr


def test_what_a_dry_run_costs_is_said_without_torch_for_shipped_networks(tmp_path):
    script = ROOT / "workflow/scripts/plan.py"
    config = ROOT / "config/studies/bit_scale.yaml"
    runs = [run.path for run in all_runs(_loaded(config))[:40]]
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['plan.py', '--config', {str(config)!r}, '--jobs']\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "print([name for name in ('torch', 'timm') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps({"runs": runs}),
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "This would train" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "study", [ROOT / "config/config.yaml", *sorted((ROOT / "config/studies").glob("*.yaml"))]
)
def test_the_table_has_the_networks_of_every_shipped_study(study):
    script = runpy.run_path(str(ROOT / "workflow/scripts/count_networks.py"))
    missing = set(script["networks_of"](_loaded(study))) - set(known_costs())
    assert not missing, "run python workflow/scripts/count_networks.py"


@pytest.mark.parametrize("architecture", ["cbr", "resnet18", "resnet50"])
def test_the_table_of_networks_is_what_counting_them_gives(architecture):
    of_kind = [n for n in known_costs() if json.loads(n.settings)["architecture"] == architecture]
    assert of_kind
    for network in of_kind[:3]:
        assert known_costs()[network] == count(network)


@pytest.mark.slow
def test_the_whole_table_of_networks_is_what_counting_them_gives():
    assert known_costs() == {network: count(network) for network in known_costs()}


def test_a_network_that_is_in_no_table_is_counted():
    settings = ModelSettings("cbr", arguments={"channels": [4, 8], "kernel_size": 3})
    network, slim = (Network.of(settings, init, 1, 24) for init in (Init(), Init("source", 1, "slim")))
    assert network not in known_costs()
    convolutions = 2 * 9 * 1 * 4 * 24**2 + 2 * 9 * 4 * 8 * 12**2
    assert cost_of(network).operations == pytest.approx(convolutions + 2 * 8, rel=0.01)
    assert cost_of(slim).operations < cost_of(network).operations


def test_starts_of_one_width_are_one_network_and_slim_ones_differ_by_their_whole_units():
    settings = ModelSettings("resnet18")
    inits = [Init(), Init("a", None), Init("a", 3, "random"), Init("a", 3, "stats")]
    assert len({Network.of(settings, init, 3, 64) for init in inits}) == 1
    slim = {Network.of(settings, Init("a", units, "slim"), 3, 64) for units in (None, 0, 1, 2)}
    assert len(slim) == 3 and Network.of(settings, Init(), 3, 64) not in slim


def test_a_table_of_networks_is_read_as_it_was_written():
    table = as_table(known_costs())
    rows = json.loads(table)
    assert len(rows) == len(known_costs())
    assert {Network(**row["network"]) for row in rows} == set(known_costs())


def test_the_union_of_the_studies_has_so_many_more_runs_as_seeds(dag):
    counts = []
    for more in (0, 4, 8):
        config = load_config(dag.union_of_studies(more), [ROOT / "config"])
        counts.append(len(all_runs(config)))
    assert counts[0] > 2000
    assert counts[2] - counts[1] == counts[1] - counts[0] > 1500


def test_runs_are_sorted_by_data_set_in_their_order(dag):
    runs = all_runs(load_config(dag.union_of_studies(0), [ROOT / "config"]))
    sorted_runs = by_dataset(runs)
    assert list(sorted_runs) == list(dict.fromkeys(run.dataset for run in runs))
    for name, found in sorted_runs.items():
        assert found == [run for run in runs if run.dataset == name]


def test_a_command_is_timed_with_its_children(dag, tmp_path):
    busy = "x = sum(i for i in range(10**6))"
    timing = dag.timed(["bash", "-c", f"{sys.executable} -c {busy!r}; echo done"], tmp_path)
    assert timing.output == "done\n"
    assert timing.processor_seconds > 0
    with pytest.raises(subprocess.CalledProcessError):
        dag.timed(["bash", "-c", "exit 3"], tmp_path)


def test_what_snakemake_prints_is_read(dag):
    assert dag.job_count("job   count\n----  -----\ntrain  7\ntotal   10584\n") == 10584
    assert dag.job_count("Nothing to be done") == 0
    listing = "Building DAG\noutput_file\tdate\trule\na/b.pdf\t-\tfigure\nc.csv\t-\tx\nBye\n"
    assert dag.output_files(listing) == ["a/b.pdf", "c.csv"]


def _loaded(path: Path) -> Config:
    return load_config(read_yaml(path), [ROOT / "config"])
