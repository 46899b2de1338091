# medtransfer: when, how much and through which layers does pre-training help on medical images?
#
#   snakemake all --cores 8 --resources gpu=2                          the embedded study
#   snakemake all --configfile config/studies/<study>.yaml --cores 8   another study
#   snakemake --cores 8 results/figures/embedded/gains.pdf             one figure
import gc

from snakemake.utils import min_version

min_version("9.25")

# Planning makes millions of objects that stay: a fifth of its time went into looking for garbage there.
gc.disable()


onstart:
    gc.enable()


if "studies" not in config:

    configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/lookups.smk"
include: "rules/data.smk"
include: "rules/weights.smk"
include: "rules/train.smk"
include: "rules/features.smk"
include: "rules/similarity.smk"
include: "rules/shift.smk"
include: "rules/evaluation.smk"
include: "rules/statistics.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/targets.smk"
include: "rules/cost.smk"


localrules:
    all,


rule all:
    """Everything that the studies ask for."""
    input:
        study_figures(),
        collect(
            "results/{study}/{file}",
            study=CONFIG.studies,
            file=["report.html", "summary.csv", "findings.txt"],
        ),
