"""Pre-trained weights, from files or from a run of this pipeline.

REQUIRED: a file of weights, or a finished pre-training run.
PROVIDES: resources/weights/<source>/<model>.safetensors and its sidecar .json.
"""


rule import_weights:
    """Check a file of weights and store it as safetensors.

    Reads: the file that the source's settings name. Writes: weights and sidecar.
    """
    input:
        weight_file_input,
    output:
        weights="resources/weights/{read_source}/{model}.safetensors",
        sidecar="resources/weights/{read_source}/{model}.json",
    log:
        "logs/import_weights/{read_source}/{model}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=4000,
        runtime=10,
    params:
        file=lambda wildcards: as_argument(weight_file(wildcards)),
        code=code("import_weights.py"),
    shell:
        "python {resources.scripts}/import_weights.py --file {params.file:q}"
        " --output {output.weights:q} 2> {log:q}"


rule export_weights:
    """Make the network of a finished pre-training run a source.

    Reads: the run's weights and record. Writes: weights and sidecar.
    """
    input:
        weights=lambda wildcards: ancient(source_run(wildcards, "model.safetensors")),
        record=lambda wildcards: source_run(wildcards, "run.json"),
    output:
        weights="resources/weights/{trained_source}/{model}.safetensors",
        sidecar="resources/weights/{trained_source}/{model}.json",
    log:
        "logs/export_weights/{trained_source}/{model}.log",
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=4000,
        runtime=10,
    params:
        code=code("export_weights.py"),
    shell:
        "python {resources.scripts}/export_weights.py --run $(dirname {input.record:q})"
        " --output {output.weights:q} 2> {log:q}"
