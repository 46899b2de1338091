"""Figures from tidy tables, one rule a figure.

REQUIRED: the tables that a figure names below.
PROVIDES: results/figures/<study>/<figure>.{pdf,png}, and the rows that it shows as <figure>.csv.
"""

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
        conda:
            "../envs/medtransfer.yaml"
        resources:
            scripts=SCRIPTS,
            mem_mb=2000,
            runtime=10,
        params:
            figure=figure,
            tables=table_flags,
            code=code("figure.py", f"medtransfer.figures.{figure}"),
        shell:
            "python {resources.scripts}/figure.py --name {params.figure} {params.tables}"
            " --output {output.pdf:q} {output.png:q} --rows {output.csv:q} 2> {log:q}"
