"""Pre-trained weights, from files, from the network or from a run of this pipeline.

REQUIRED: a file of weights or an address, or a finished pre-training run.
PROVIDES: resources/weights/<source>/<model>.safetensors and its sidecar .json.
"""


rule import_weights:
    """Check weights against their network and store them as safetensors.

    Reads: the file that the source's settings name. Writes: weights and sidecar; and, below
    resources/weights/files/, the file itself when it comes from the network.
    Where it comes from is a resource: what is here isn't imported again for another address.
    """
    input:
        weight_file_input,
    output:
        weights="resources/weights/{read_source}/{model}.safetensors",
        sidecar="resources/weights/{read_source}/{model}.json",
    log:
        "logs/import_weights/{read_source}/{model}.log",
    localrule: True
    conda:
        "../envs/medtransfer.yaml"
    resources:
        scripts=SCRIPTS,
        mem_mb=more(16000),
        runtime=more(240),
        file=lambda wildcards: as_argument(weight_file(wildcards)),
    params:
        file=lambda wildcards: as_argument(weight_file(wildcards), IMPORT_KEYS),
        model=lambda wildcards: as_argument(
            CONFIG.models[wildcards.model], {"architecture", "arguments"}
        ),
        code=code("import_weights.py"),
    shell:
        "python {resources.scripts}/import_weights.py --file {resources.file:q}"
        " --model {params.model:q} --output {output.weights:q} 2> {log:q}"


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
        mem_mb=more(4000),
        runtime=more(10),
    params:
        code=code("export_weights.py"),
    shell:
        "python {resources.scripts}/export_weights.py --run $(dirname {input.record:q})"
        " --output {output.weights:q} 2> {log:q}"
