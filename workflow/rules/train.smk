# pack shards -> networks
rule train_model:
    """One network; resumes a run that was stopped."""
    input:
        # A gate, not data: a new table of the same shapes does not trigger a training.
        accepted=ancient(f"{RESULTS}/preprocess/accepted.json"),
        shards=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train", "val"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
        networks=lambda wildcards: CONFIG.networks_used_by(wildcards.model),
    output:
        # Not removed before the job, which keeps another run's files aside (training.previous_runs).
        best=update(f"{RESULTS}/train/{{model}}/best.ckpt"),
        metrics=update(f"{RESULTS}/train/{{model}}/metrics.csv"),
        options=update(f"{RESULTS}/train/{{model}}/options.json"),
    log:
        f"{RESULTS}/logs/train/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{model}}.tsv"
    priority: 3  # takes longest, and most jobs wait for it
    conda:
        network_env(CONFIG.train.hardware.accelerator)
    threads: CONFIG.train.hardware.threads
    resources:
        **multinode_resources(),
        mem_mb=scaled_mem(8000),
        runtime=lambda wildcards, attempt: 24 * 60 * attempt,
        gpu=TRAINING_GPUS,
    params:
        occnet=occnet,
        srun=srun_prefix(),
        folder=lambda wildcards, output: Path(output.best).parent,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train", "val"),
        seed=CONFIG.seed,
        model=lambda wildcards: CONFIG.models[wildcards.model].model_dump(),
        images=lambda wildcards: CONFIG.images_of(wildcards.model).model_dump(),
        train=CONFIG.train.model_dump(exclude={"hardware": {"threads", "workers"}}),
        versions=versions("train"),
    message:
        "train: model {wildcards.model}"
    shell:
        "{params.srun}{params.occnet} train --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --model {wildcards.model:q} --threads {threads} "
        "--out {params.folder:q}"


rule train_refinement:
    """The graph network that corrects the face normals of a model's meshes (`reconstruct.refinement` graph and both)."""
    input:
        accepted=ancient(f"{RESULTS}/preprocess/accepted.json"),
        shards=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train", "val"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
        networks=lambda wildcards: CONFIG.networks_used_by(wildcards.model),
    output:
        graph=f"{RESULTS}/refinement/{{model}}/graph.ckpt",
    log:
        f"{RESULTS}/logs/refinement/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/refinement/{{model}}.tsv"
    conda:
        network_env(CONFIG.train.hardware.accelerator)
    threads: CONFIG.train.hardware.threads
    resources:
        mem_mb=scaled_mem(8000),
        runtime=lambda wildcards, attempt: 48 * 60 * attempt,
        gpu=TRAINING_GPUS,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.graph).parent,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train", "val"),
        seed=CONFIG.seed,
        model=lambda wildcards: CONFIG.models[wildcards.model].model_dump(),
        images=lambda wildcards: CONFIG.images_of(wildcards.model).model_dump(),
        train=CONFIG.train.model_dump(exclude={"hardware": {"threads", "workers"}}),
        reconstruct=CONFIG.reconstruct.model_dump(),
        versions=versions("train", "reconstruct", "refinement"),
    message:
        "train: graph network of {wildcards.model}"
    shell:
        "{params.occnet} train_refinement --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --model {wildcards.model:q} --threads {threads} "
        "--out {params.folder:q}"


rule train:
    """Networks: all models of the configuration."""
    input:
        expand(rules.train_model.output.best, model=MODELS),
    localrule: True
    message:
        "train: done"
