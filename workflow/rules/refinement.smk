# all refinements of the meshes of `evaluate.refinements` side by side
rule train_further_refinement:
    """The graph network of the refinement that `train_refinement` does not train: both, or graph."""
    input:
        first=rules.train_refinement.output.graph,  # they share halves and must not train these at the same time
        shards=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train", "val"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        graph=f"{RESULTS}/refinement/{{model}}/{FURTHER_GRAPH}/graph.ckpt",
    log:
        f"{RESULTS}/logs/refinement/{{model}}.{FURTHER_GRAPH}.log",
    benchmark:
        f"{RESULTS}/benchmarks/refinement/{{model}}.{FURTHER_GRAPH}.tsv"
    conda:
        network_env(CONFIG.train.hardware.accelerator)
    threads: CONFIG.train.hardware.threads
    resources:
        mem_mb=scaled_mem(8000),
        runtime=lambda wildcards, attempt: 24 * 60 * attempt,
        gpu=TRAINING_GPUS,
    params:
        occnet=occnet,
        folder=lambda wildcards, input: Path(input.first).parent,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train", "val"),
        refinement=FURTHER_GRAPH,
    message:
        "train: graph network of {wildcards.model} for refinement {params.refinement}"
    shell:
        "{params.occnet} train_refinement --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --model {wildcards.model:q} --refinement {params.refinement} "
        "--threads {threads} --out {params.folder:q}"


rule evaluate_refinements:
    """Metrics of all refinements of one shard's meshes by one network, and meshes of examples."""
    input:
        **{
            CONFIG.graph_refinement: rules.train_refinement.output.graph,
            FURTHER_GRAPH: rules.train_further_refinement.output.graph,
        },
        checkpoint=rules.train_model.output.best,
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/evaluate/{{model}}/{{shard}}.refinements.csv",
        meshes=directory(f"{RESULTS}/evaluate/{{model}}/{{shard}}.refinements"),
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/{{shard}}.refinements.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/{{shard}}.refinements.tsv"
    conda:
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        occnet=occnet,
        seed=CONFIG.seed,
        reconstruct=CONFIG.reconstruct.model_dump(exclude={"refinement"}),
        surface=CONFIG.evaluate.surface,
        versions=versions("reconstruct", "refinement", "evaluate"),
    message:
        "evaluate: refinements of shard {wildcards.shard} by {wildcards.model}"
    shell:
        "{params.occnet} evaluate_refinements --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --graph {input.graph:q} "
        "--both {input.both:q} --model {wildcards.model:q} --meshes {output.meshes:q} --out {output.table:q}"


rule refinement_table:
    """Differences between the refinements and none, over shapes and training seeds."""
    input:
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.refinements.csv",
            "test",
            model=CONFIG.refined_models,
        ),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=report(
            f"{RESULTS}/evaluate/refinements.csv",
            caption="../report/refinements.rst",
            category="Metrics",
        ),
    log:
        f"{RESULTS}/logs/evaluate/refinements.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/refinements.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.table).parent,
        shards=shard_names("test"),
        models=CONFIG.refined_models,
        versions=versions("evaluate", "summarise"),
    message:
        "evaluate: {output.table}"
    shell:
        "{params.occnet} refinement_table --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q}"
