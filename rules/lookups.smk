"""The functions that rules look their inputs and parameters up with.

REQUIRED: rules/common.smk. PROVIDES: paths and arguments as functions of wildcards.
"""

import json
from functools import cache
from types import SimpleNamespace

from medtransfer.config.analyses import (
    ALL_IMAGES,
    analysed_runs,
    distance_embeddings,
    transfer_embeddings,
)
from medtransfer.config.load import config_file
from medtransfer.config.names import LIST_NAMES, fold_list_path, published_fold
from medtransfer.config.runs import (
    Run,
    by_dataset,
    candidate_runs,
    pretraining_run,
    weights_model,
    with_pretraining,
)
from medtransfer.config.search import without_search
from medtransfer.config.source import IMPORT_KEYS
from medtransfer.config.figures import NETWORK_FIGURES


def code(script, *modules):
    """A params function: the fingerprint of a script's code, whatever its comments and its age.

    A function, so that a job on a cluster, which reads all rules again, reads the code of its own only.
    """
    return lambda wildcards: script_fingerprint(script, modules)


@cache
def script_fingerprint(script, modules):
    """The fingerprint of a script and of the modules that it imports by a computed name."""
    return code_fingerprint(
        BASE / "workflow" / "scripts" / script, BASE / "src", modules
    )


def dataset_settings(*keys):
    """A params function: the named settings of the wildcard's data set, as an argument."""
    return lambda wildcards: settings_text("datasets", wildcards.dataset, keys)


@cache
def settings_text(kind, name, keys=None):
    """A data set, network or study as an argument, all of it or some keys; the same for many jobs."""
    return as_argument(getattr(CONFIG, kind)[name], keys)


@cache
def recipe_text(name):
    """A recipe as an argument of training, which takes no part in a search."""
    return as_argument(without_search(CONFIG.recipes[name]))


def manifest_path(wildcards):
    """Where the data set's manifest is: the user's, or that of its generator or adapter."""
    dataset = CONFIG.datasets[wildcards.dataset]
    return dataset.manifest or f"resources/datasets/{wildcards.dataset}/manifest.csv"


def manifest_input(wildcards):
    """The manifest as input, if it is there or a rule can make it."""
    path = manifest_path(wildcards)
    if CONFIG.datasets[wildcards.dataset].manifest is None:
        return path
    return if_placed(path, f"results/data/{wildcards.dataset}/samples.parquet")


def fold_list_inputs(wildcards):
    """The lists of the published folds that runs on the data set use, if they are there."""
    pattern = CONFIG.datasets[wildcards.dataset].fold_lists
    folds = {published_fold(split) for split in dataset_splits(wildcards)} - {None}
    return [
        path
        for fold in sorted(folds)
        for part in LIST_NAMES
        for path in if_placed(
            fold_list_path(pattern, part, fold),
            f"results/data/{wildcards.dataset}/samples.parquet",
        )
    ]


def dataset_splits(wildcards):
    """The splits that runs on the data set use, in their order."""
    runs = all_by_dataset().get(wildcards.dataset, [])
    return list(dict.fromkeys(run.split for run in runs))


@cache
def all_by_dataset():
    """All runs, of each data set."""
    return by_dataset(RUNS)


def near_duplicates_flag(wildcards):
    """`--exact-only` for data sets that accept near duplicates, which needn't be looked for."""
    accepted = "near_duplicates" in CONFIG.datasets[wildcards.dataset].accept
    return "--exact-only" if accepted else ""


def placed_tables(wildcards):
    """The small files among what a public data set must have, as inputs if they are there."""
    folder = f"resources/datasets/{wildcards.adapted}"
    access = CONFIG.datasets[wildcards.adapted].access
    names = [] if access is None else access.expected
    tables = [name for name in names if name.endswith((".csv", ".txt"))]
    return [
        path
        for name in tables
        for path in if_placed(f"{folder}/{name}", f"{folder}/manifest.csv")
    ]


def if_placed(path, product):
    """A file that users place by hand, as input; nothing while neither it nor its product exists.

    So a study can be planned before its data are there; the job itself says what is missing. With the
    product there the file stays an input, since a finished product must not be made anew from nothing.
    """
    return [path] if Path(path).exists() or Path(product).exists() else []


def weight_file(wildcards):
    """The settings of a file of weights."""
    return CONFIG.sources[wildcards.read_source].files[wildcards.model]


def weight_file_input(wildcards):
    """A user's file of weights as input, if it is there.

    Files from the network are none: the import itself brings them, once and verified.
    """
    path = weight_file(wildcards).path
    product = f"resources/weights/{wildcards.read_source}/{wildcards.model}.json"
    return [] if path is None else if_placed(path, product)


def run_weights(wildcards):
    """The weights that a run starts from, as input; none for a random start.

    Their content is watched through the small sidecar, which holds their checksum.
    """
    path = _weights(wildcards)
    return [] if path is None else [ancient(path)]


def run_weights_sidecar(wildcards):
    """The sidecar of the weights that a run starts from."""
    return [
        path.removesuffix(".safetensors") + ".json" for path in run_weights(wildcards)
    ]


def weights_flag(wildcards):
    """`--weights <file>` for a run that starts from weights, else nothing."""
    path = _weights(wildcards)
    return "" if path is None else f"--weights {shlex.quote(path)}"


def _weights(wildcards):
    """The path of the weights that a run starts from: its network's, or those it names; or None."""
    source = parse_init(wildcards.init).source
    model = weights_model(wildcards.model, CONFIG.models)
    return None if source is None else f"resources/weights/{source}/{model}.safetensors"


def running_flags(wildcards):
    """How a training runs and is seen, which decides nothing of its result."""
    hardware = CONFIG.hardware
    run = "{recipe}/{dataset}/{model}/{init}/{subset}/{split}/seed{seed}"
    flags = {
        "--memory-format": hardware.memory_format != "auto",
        "--compile": hardware.compile,
        "--checkpoint-activations": hardware.checkpoint_activations,
        "--images-mb": hardware.images_mb is not None,
        "--deterministic": hardware.deterministic,
        "--save-seconds": hardware.save_seconds is not None,
        "--tensorboard": hardware.tensorboard,
    }
    values = {
        "--memory-format": f" {hardware.memory_format}",
        "--images-mb": f" {hardware.images_mb}",
        "--save-seconds": f" {hardware.save_seconds}",
        "--tensorboard": f" results/tensorboard/{run.format(**dict(wildcards.items()))}",
    }
    return " ".join(f + values.get(f, "") for f, asked in flags.items() if asked)


def candidate_records(wildcards):
    """The records of the runs among which a cell's learning rate is chosen."""
    w = wildcards
    # the repeats of a cell have the same candidates
    run = Run(w.searched, w.dataset, w.model, w.init, w.subset, w.split, seed=0)
    return [
        run_file(candidate, "run.json") for candidate in candidate_runs(run, CONFIG)
    ]


def run_choice(wildcards):
    """The choice of the learning rate that a run takes, as input; none without a search."""
    if CONFIG.recipes[wildcards.recipe].search is None:
        return []
    w = wildcards
    cell = f"{w.recipe}/{w.dataset}/{w.model}/{w.init}/{w.subset}/{w.split}"
    return [f"results/searches/{cell}/choice.json"]


def search_flags(wildcards):
    """What a run takes from a search: the choice, or, as a candidate, leave to diverge."""
    if wildcards.recipe in CANDIDATES:
        return "--may-diverge"
    return " ".join(f"--choice {shlex.quote(path)}" for path in run_choice(wildcards))


def study_searches(wildcards):
    """How the candidates did in every search that a study's runs or their pre-training need."""
    runs = with_pretraining(study_runs(CONFIG.studies[wildcards.study]), CONFIG)
    return [
        f"results/searches/{cell}/candidates.parquet"
        for cell in searched_cells(runs, CONFIG)
    ]


def kept_or_temp(path):
    """An output that goes once its analyses are done, unless a study keeps its activations."""
    kept = any(study.representation.keep for study in CONFIG.studies.values())
    return path if kept else temp(path)


def analysed(wildcards):
    """The runs of a study on one data set whose representations are analysed."""
    return analysed_by_dataset(wildcards.study).get(wildcards.dataset, [])


def analysed_datasets(study):
    """The data sets of a study's analysed runs, in their order."""
    return list(analysed_by_dataset(study))


@cache
def analysed_by_dataset(study):
    """The runs of a study whose representations are analysed, of each data set."""
    return by_dataset(analysed_runs(CONFIG.studies[study]))


def activation_files(*names):
    """An input function: these files of the analysed runs, in their order."""
    return lambda wildcards: [
        f"results/activations/{_probe(wildcards)}/{run.path}/{name}"
        for run in analysed(wildcards)
        for name in names
    ]


def reinitialisation_files(wildcards):
    """The scores of the analysed runs with one unit set back."""
    return [
        f"results/reinitialisation/{run.path}/reinitialisation.parquet"
        for run in analysed(wildcards)
    ]


def prediction_files(wildcards):
    """The predictions of the analysed runs."""
    return [run_file(run, "predictions.parquet") for run in analysed(wildcards)]


def embedding_files(find):
    """An input function: the embeddings that a study's analysis needs, as ``find`` lists them."""
    return lambda wildcards: [
        f"results/activations/{embedding.path}/embedding.safetensors"
        for embedding in find(CONFIG.studies[wildcards.study], CONFIG)
    ]


def embedded_split(wildcards):
    """The split whose training images are embedded; none for a source's own images."""
    if wildcards.split == ALL_IMAGES:
        return []
    return f"results/data/{wildcards.dataset}/splits/{wildcards.split}.parquet"


def source_datasets(wildcards):
    """The data set with the own images of each source of a study."""
    study = CONFIG.studies[wildcards.study]
    sources = {parse_init(run.init).source for run in study_runs(study)} - {None}
    found = {source: source_images(source, CONFIG) for source in sorted(sources)}
    return {source: dataset for source, dataset in found.items() if dataset}


def _probe(wildcards):
    return CONFIG.studies[wildcards.study].representation.probe


def run_file(run, name):
    """The path of one of a run's files."""
    return f"results/runs/{run.path}/{name}"


def dataset_runs(study, dataset):
    """The runs of a study on one data set."""
    return runs_by_dataset(study).get(dataset, [])


def study_datasets(study):
    """The data sets of a study, in its order."""
    return list(runs_by_dataset(study))


@cache
def runs_by_dataset(study):
    """The runs of a study on each of its data sets."""
    return by_dataset(study_runs(CONFIG.studies[study]))


def study_figures():
    """All figures that the studies ask for, as PDF and PNG, with their rows."""
    return [
        f"results/figures/{name}/{figure}.{suffix}"
        for name, study in CONFIG.studies.items()
        for figure in study.drawn
        for suffix in ("pdf", "png", "csv")
    ]


def source_run(wildcards, name):
    """A file of the run that trains a source's weights."""
    source = CONFIG.sources[wildcards.trained_source]
    return run_file(pretraining_run(source, wildcards.model), name)


def run_predictions(wildcards):
    """The predictions of a study's runs on one data set."""
    return [
        run_file(run, "predictions.parquet")
        for run in dataset_runs(wildcards.study, wildcards.dataset)
    ]


def run_files(wildcards):
    """What evaluation reads of a study's runs on one data set."""
    return [
        run_file(run, name)
        for run in dataset_runs(wildcards.study, wildcards.dataset)
        for name in ("predictions.parquet", "history.parquet", "run.json")
    ]


def external_predictions(wildcards):
    """What a study's runs on one data set predict of the other data sets that test it."""
    others = CONFIG.datasets[wildcards.dataset].external
    return [
        f"results/shift/{run.path}/external-{other}.predictions.parquet"
        for run in dataset_runs(wildcards.study, wildcards.dataset)
        for other in others
    ]


def corrupted_predictions(wildcards):
    """What the analysed runs predict of their test images under each corruption of the study."""
    return [
        f"results/shift/{run.path}/{corruption}.parquet"
        for run in analysed(wildcards)
        for corruption in CONFIG.studies[wildcards.study].corruptions
    ]


def corruption_tables(wildcards):
    """The results on corrupted images of each data set with analysed runs."""
    return [
        f"results/evaluation/{wildcards.study}/{dataset}.corruption.parquet"
        for dataset in analysed_datasets(wildcards.study)
    ]


def shift_tables(wildcards):
    """The results on other sites and data sets of each data set that has any."""
    return [
        f"results/evaluation/{wildcards.study}/{dataset}.shift.parquet"
        for dataset in study_datasets(wildcards.study)
        if CONFIG.datasets[dataset].external_sites or CONFIG.datasets[dataset].external
    ]


def results_table(wildcards):
    """The user's table of results from elsewhere as input, if it is there."""
    path = CONFIG.studies[wildcards.study].results.table
    return if_placed(
        path, f"results/evaluation/{wildcards.study}/elsewhere/metrics.parquet"
    )


def study_records(wildcards):
    """The records of a study's runs, of their pre-training, and of the candidates of all these."""
    runs = with_pretraining(study_runs(CONFIG.studies[wildcards.study]), CONFIG)
    candidates = [
        candidate for run in runs for candidate in candidate_runs(run, CONFIG)
    ]
    return [run_file(run, "run.json") for run in dict.fromkeys([*runs, *candidates])]


def study_pretrainings(wildcards):
    """Which run trains the weights that a study's runs start from, as JSON text."""
    runs = study_runs(CONFIG.studies[wildcards.study])
    starts = {(parse_init(run.init).source, run.model) for run in runs}
    trained = {
        f"{source}/{model}": pretraining_run(
            CONFIG.sources[source], weights_model(model, CONFIG.models)
        )
        for source, model in sorted(starts, key=str)
        if source is not None
    }
    return json.dumps({name: run.path for name, run in trained.items() if run})


def study_candidates(wildcards):
    """The recipes of the candidates of each search of a study, and their seed, as JSON text."""
    runs = with_pretraining(study_runs(CONFIG.studies[wildcards.study]), CONFIG)
    recipes = {name: CONFIG.recipes[name] for name in sorted({r.recipe for r in runs})}
    return json.dumps(
        {
            name: {
                "recipes": sorted(candidate_recipes(name, recipe)),
                "seed": recipe.search.seed,
            }
            for name, recipe in recipes.items()
            if recipe.search is not None
        }
    )


def run_records_table(wildcards):
    """The records of a study's runs; nothing for results from elsewhere alone."""
    if not study_runs(CONFIG.studies[wildcards.study]):
        return []
    return f"results/evaluation/{wildcards.study}/run_records.parquet"


def shown_settings(wildcards):
    """What a report shows of the settings of a study, its recipes and its networks, as JSON text."""
    study = CONFIG.studies[wildcards.study]
    runs = study_runs(study)
    named = {
        "recipes": {run.recipe: CONFIG.recipes[run.recipe] for run in runs},
        "models": {run.model: CONFIG.models[run.model] for run in runs},
    }
    return json.dumps(
        {
            "studies": {wildcards.study: json.loads(as_argument(study))},
            **{
                kind: {
                    name: json.loads(as_argument(part)) for name, part in parts.items()
                }
                for kind, parts in named.items()
            },
        }
    )


def caption(figure):
    """The text of a figure's caption."""
    return (BASE / "workflow" / "report" / f"{figure}.rst").read_text()


def published_file(wildcards):
    """The CSV table of the paper's numbers, beside the other files of the configuration."""
    return str(config_file(CONFIG.studies[wildcards.study].published, CONFIG_FOLDERS))


def published_table(wildcards):
    """The paper's numbers of a study that has any, else nothing."""
    if CONFIG.studies[wildcards.study].published is None:
        return []
    return f"results/statistics/{wildcards.study}/published.parquet"


def metrics_tables(wildcards):
    """The metrics of all data sets of a study, and those from elsewhere."""
    study = wildcards.study
    elsewhere = f"results/evaluation/{study}/elsewhere/metrics.parquet"
    asked = CONFIG.studies[study].results is not None
    return dataset_tables("metrics")(wildcards) + [elsewhere] * asked


def chance_levels(wildcards):
    """The target metric without any learning on the data sets of a study's runs, where it's known."""
    datasets = {run.dataset for run in study_runs(CONFIG.studies[wildcards.study])}
    levels = {name: CONFIG.datasets[name].chance_level for name in sorted(datasets)}
    return json.dumps(
        {name: level for name, level in levels.items() if level is not None}
    )


def distance_table(wildcards):
    """The domain distances of a study that draws them."""
    if "domain_distance" not in CONFIG.studies[wildcards.study].drawn:
        return []
    return f"results/representation/{wildcards.study}/domain_distance.parquet"


def score_table(wildcards):
    """The transferability scores of a study that draws them."""
    if "transferability" not in CONFIG.studies[wildcards.study].drawn:
        return []
    return f"results/representation/{wildcards.study}/transferability.parquet"


def model_families(wildcards):
    """The family of each network of a study, as JSON text."""
    runs = study_runs(CONFIG.studies[wildcards.study])
    models = dict.fromkeys(run.model for run in runs)
    return json.dumps({model: CONFIG.models[model].family for model in models})


def patient_tables(wildcards):
    """How much other patients would change, of each data set with runs."""
    return [
        f"results/statistics/{wildcards.study}/{dataset}.patients.parquet"
        for dataset in study_datasets(wildcards.study)
    ]


def representation_tables(kind):
    """An input function: one table of this kind for each data set with analysed runs."""
    return lambda wildcards: [
        f"results/representation/{wildcards.study}/{dataset}.{kind}.parquet"
        for dataset in analysed_datasets(wildcards.study)
    ]


def dataset_tables(kind):
    """An input function: one table of this kind for each data set of the study."""
    return lambda wildcards: [
        f"results/evaluation/{wildcards.study}/{dataset}.{kind}.parquet"
        for dataset in study_datasets(wildcards.study)
    ]


def table_flags(wildcards, input):
    """The inputs of a figure as `--table name=path,...` flags."""
    tables = {name: getattr(input, name) for name in input.keys()}
    joined = {n: p if isinstance(p, str) else ",".join(p) for n, p in tables.items()}
    return " ".join(f"--table {shlex.quote(f'{n}={p}')}" for n, p in joined.items())


def group_tables(kind):
    """An input function: one table of this kind for each data set of the study that names groups."""
    return lambda wildcards: [
        f"results/evaluation/{wildcards.study}/{dataset}.{kind}.parquet"
        for dataset in study_datasets(wildcards.study)
        if CONFIG.datasets[dataset].groups
    ]


def representation_targets():
    """The tables behind the figures of representations that the studies ask for."""
    tables = [
        (name, table)
        for name, study in CONFIG.studies.items()
        for figure in study.drawn
        if figure in NETWORK_FIGURES
        for table in FIGURES[figure].values()
    ]
    return [
        path
        for name, table in tables
        for path in (
            table(SimpleNamespace(study=name))
            if callable(table)
            else [table.format(study=name)]
        )
    ]
