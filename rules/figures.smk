"""Figures from tidy tables, one rule a figure.

REQUIRED: rules/lookups.smk, the tables that a figure names below.
PROVIDES: results/figures/<study>/<figure>.{pdf,png}, and the rows that it shows as <figure>.csv.
"""

# figure -> the tables it reads, by the names that its module uses
FIGURES = {
    "main_table": {
        "summary": "results/statistics/{study}/summary.parquet",
        "verdicts": "results/statistics/{study}/verdicts.parquet",
        "published": published_table,
    },
    "class_table": {
        "class_summary": "results/statistics/{study}/class_summary.parquet",
        "published": published_table,
    },
    "folds": {
        "metrics": metrics_tables,
        "summary": "results/statistics/{study}/summary.parquet",
    },
    "factors": {
        "points": "results/statistics/{study}/gain_points.parquet",
        "models": "results/statistics/{study}/gain_factors.parquet",
    },
    "metrics": {
        "metrics": metrics_tables,
        "summary": "results/statistics/{study}/summary.parquet",
    },
    "gains": {"gains": "results/statistics/{study}/gains.parquet"},
    "verdict": {"verdicts": "results/statistics/{study}/verdicts.parquet"},
    "label_efficiency": {
        "label_efficiency": "results/statistics/{study}/label_efficiency.parquet",
        "summary": "results/statistics/{study}/summary.parquet",
    },
    "convergence": {
        "convergence": "results/statistics/{study}/convergence.parquet",
        "convergence_tests": "results/statistics/{study}/convergence_tests.parquet",
    },
    "calibration": {
        "reliability": dataset_tables("reliability"),
        "summary": "results/statistics/{study}/summary.parquet",
    },
    "selective": {
        "risk_coverage": dataset_tables("risk_coverage"),
        "summary": "results/statistics/{study}/summary.parquet",
    },
    "subgroups": {
        "subgroups": group_tables("subgroups"),
        "subgroup_gaps": group_tables("subgroup_gaps"),
    },
    "wtst_gains": {"gains": "results/statistics/{study}/gains.parquet"},
    "cost_benefit": {"costs": "results/statistics/{study}/costs.parquet"},
    "reuse_share": {"reuse": "results/statistics/{study}/reuse.parquet"},
    "capacity": {
        "summary": "results/statistics/{study}/summary.parquet",
        "gain_points": "results/statistics/{study}/gain_points.parquet",
        "networks": "results/statistics/{study}/networks.parquet",
    },
    "depth_convergence": {
        "convergence_means": "results/statistics/{study}/convergence_means.parquet"
    },
    "partial_curves": {"curves": dataset_tables("curves")},
    "validation_curves": {"curves": dataset_tables("curves")},
    "external": {"shift": shift_tables},
    "corruption": {"corruption": corruption_tables},
    **{
        kind: {kind: representation_tables(kind)}
        for kind in (
            "cka",
            "cca",
            "top_layers",
            "knn",
            "weight_distance",
            "reinitialisation",
        )
    },
    "start_end": {
        "start_end": representation_tables("start_end"),
        "start_end_correlations": representation_tables("start_end_correlations"),
    },
    "filters": {
        "filters": representation_tables("filters"),
        "filter_weights": representation_tables("filter_weights"),
    },
    "agreement": {"agreement": representation_tables("agreement")},
    "domain_distance": {
        "distances": "results/representation/{study}/domain_distance.parquet",
        "gains": "results/statistics/{study}/gains.parquet",
    },
    "cca_gain": {
        "points": "results/statistics/{study}/similarity_gain_points.parquet",
        "correlations": "results/statistics/{study}/similarity_gains.parquet",
    },
    "zoo_map": {"zoo_map": representation_tables("zoo_map")},
    "predicted_gains": {
        "predicted": "results/statistics/{study}/predicted_gains.parquet",
        "errors": "results/statistics/{study}/prediction_errors.parquet",
    },
    "transferability": {
        "scores": "results/representation/{study}/transferability.parquet",
        "correlations": "results/representation/{study}/transferability_correlations.parquet",
    },
}

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
            csv=f"results/figures/{{study}}/{figure}.csv",
        log:
            f"logs/figures/{{study}}/{figure}.log",
        localrule: True
        conda:
            "../envs/medtransfer.yaml"
        resources:
            scripts=SCRIPTS,
            mem_mb=more(2000),
            runtime=more(10),
        params:
            figure=figure,
            tables=table_flags,
            code=code("figure.py", f"medtransfer.figures.{figure}"),
        shell:
            "python {resources.scripts}/figure.py --name {params.figure} {params.tables}"
            " --output {output.pdf:q} {output.png:q} --rows {output.csv:q} 2> {log:q}"
