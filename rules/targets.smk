"""One target a stage (`all` is in the Snakefile).

REQUIRED: the configuration. PROVIDES: targets by name, which run nothing themselves; `plan`.
"""


localrules:
    plan,
    data,
    weights,
    searches,
    train_all,
    representations,
    evaluation,
    statistics,
    figures,


rule plan:
    """Say what the studies cost before anything runs: runs, hours, disk; done and to come.

    Reads: tables, records and measurements of what is there. Writes: nothing but what it prints.
    """
    log:
        "logs/plan.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
    params:
        config=lambda wildcards: json.dumps(config),
    shell:
        "python {resources.scripts}/plan.py --config {params.config:q} 2> {log:q}"


rule data:
    """All pixel stores, splits and audits."""
    input:
        sorted(
            {f"results/data/{run.dataset}/splits/{run.split}.parquet" for run in RUNS}
        ),
        sorted({f"results/data/{run.dataset}/audit.json" for run in RUNS}),
        sorted(f"results/data/{name}/samples.parquet" for name in DATASETS),


rule weights:
    """All pre-trained weights, trained here or read from files."""
    input:
        [f"resources/weights/{source}/{model}.safetensors" for source, model in WEIGHTS],


rule searches:
    """All choices of a learning rate.

    Asked for before `all`, a change of a search repeats training only where the choice has changed.
    """
    input:
        [
            f"results/searches/{cell}/choice.json"
            for cell in searched_cells(RUNS, CONFIG)
        ],


rule train_all:
    """All runs of all studies."""
    input:
        [run_file(run, "predictions.parquet") for run in RUNS],


rule representations:
    """All that the studies ask of hidden representations."""
    input:
        representation_targets(),


rule evaluation:
    """Metrics and curves of all studies, and what is left of metrics elsewhere."""
    input:
        [
            path
            for study in CONFIG.studies
            for path in shift_tables(SimpleNamespace(study=study))
        ],
        [
            f"results/evaluation/{study}/{dataset}.metrics.parquet"
            for study in CONFIG.studies
            for dataset in study_datasets(study)
        ],


rule statistics:
    """Means, intervals, paired gains, verdicts and what they depend on, of all studies."""
    input:
        collect(
            "results/statistics/{study}/{table}.parquet",
            study=CONFIG.studies,
            table=["summary", "gains", "verdicts", "label_efficiency", "gain_factors"],
        ),
        collect(
            "results/statistics/{study}/convergence.parquet",
            study=[name for name, study in CONFIG.studies.items() if study.grids],
        ),


rule figures:
    """All figures of all studies."""
    input:
        study_figures(),
