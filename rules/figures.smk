"""Figures from tidy tables, one rule a figure.

REQUIRED: the tables that a figure names below.
PROVIDES: results/figures/<study>/<figure>.{pdf,png}.
"""


def dataset_tables(kind):
    """An input function: one table of this kind for each data set of the study."""
    return lambda wildcards: [
        f"results/evaluation/{wildcards.study}/{dataset}.{kind}.parquet"
        for dataset in study_datasets(wildcards.study)
    ]


# figure -> the tables it reads, by the names that its module uses
FIGURES = {
    "metrics": {
        "metrics": dataset_tables("metrics"),
        "summary": "results/statistics/{study}/summary.parquet",
    },
    "gains": {"gains": "results/statistics/{study}/gains.parquet"},
    "validation_curves": {"curves": dataset_tables("curves")},
    "external": {"summary": "results/statistics/{study}/summary.parquet"},
}


def table_flags(wildcards, input):
    """The inputs of a figure as `--table name=path,...` flags."""
    tables = {name: getattr(input, name) for name in input.keys()}
    joined = {n: p if isinstance(p, str) else ",".join(p) for n, p in tables.items()}
    return " ".join(f"--table {shlex.quote(f'{n}={p}')}" for n, p in joined.items())


for figure, tables in FIGURES.items():

    rule:
        name:
            f"figure_{figure}"
        input:
            **tables,
        output:
            pdf=f"results/figures/{{study}}/{figure}.pdf",
            png=report(
                f"results/figures/{{study}}/{figure}.png",
                caption=f"../workflow/report/{figure}.rst",
                category="Study {study}",
                labels={"result": figure.replace("_", " "), "kind": "figure"},
            ),
        log:
            f"logs/figures/{{study}}/{figure}.log",
        params:
            figure=figure,
            tables=table_flags,
            code=code("figure.py", f"medtransfer.figures.{figure}"),
        resources:
            mem_mb=2000,
            runtime=10,
        conda:
            "../envs/medtransfer.yaml"
        shell:
            "python {SCRIPTS}/figure.py --name {params.figure} {params.tables}"
            " --output {output:q} 2> {log:q}"
