# networks and photos of test shapes -> closed meshes; the baselines' meshes too
rule reconstruct_shard:
    """Meshes of the test shapes of one shard by one model."""
    input:
        checkpoint=rules.train_model.output.best,
        graph=rules.train_refinement.output.graph if USES_GRAPH else [],
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        meshes=directory(f"{RESULTS}/reconstruct/{{model}}/{{shard}}"),
    log:
        f"{RESULTS}/logs/reconstruct/{{model}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/reconstruct/{{model}}/{{shard}}.tsv"
    wildcard_constraints:
        model="(?!baseline_)[A-Za-z0-9_-]+",
    conda:
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        occnet=occnet,
        seed=CONFIG.seed,
        reconstruct=CONFIG.reconstruct.model_dump(),
        versions=versions("reconstruct"),
    message:
        "reconstruct: shard {wildcards.shard} by {wildcards.model}"
    shell:
        "{params.occnet} reconstruct_shard --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --checkpoint {input.checkpoint:q} "
        + ("--graph {input.graph:q} " if USES_GRAPH else "")
        + "--out {output.meshes:q}"


rule index_images:
    """Features of all training and test images, as they are."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train", "test"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        index=f"{RESULTS}/index/images.h5",
    log:
        f"{RESULTS}/logs/index/images.log",
    benchmark:
        f"{RESULTS}/benchmarks/index/images.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train", "test"),
        view=CONFIG.reconstruct.view,
        versions=versions("reconstruct"),
    message:
        "reconstruct: features of all images, for the baseline nearest_image"
    shell:
        "{params.occnet} index_images --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --out {output.index:q}"


rule index_codes:
    """Codes of training and test images by one network's encoder."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train", "test"),
        checkpoint=rules.train_model.output.best,
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        index=f"{RESULTS}/index/codes_{{model}}.h5",
    log:
        f"{RESULTS}/logs/index/codes_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/index/codes_{{model}}.tsv"
    conda:
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train", "test"),
        view=CONFIG.reconstruct.view,
        views=CONFIG.evaluate.code_views,
        versions=versions("reconstruct"),
    message:
        "reconstruct: codes of images by {wildcards.model}, for its baselines"
    shell:
        "{params.occnet} index_codes --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --checkpoint {input.checkpoint:q} "
        "--out {output.index:q}"


rule clusters:
    """Clusters of the training shapes."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        index=f"{RESULTS}/index/clusters.h5",
    log:
        f"{RESULTS}/logs/index/clusters.log",
    benchmark:
        f"{RESULTS}/benchmarks/index/clusters.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train"),
        seed=CONFIG.seed,
        clusters=CONFIG.evaluate.clusters,
        versions=versions("reconstruct"),
    message:
        "reconstruct: clusters of the training shapes, for the baseline clustering"
    shell:
        "{params.occnet} clusters --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --out {output.index:q}"


rule baseline_shard:
    """Meshes of the test shapes of one shard by one baseline."""
    input:
        baseline_index,
        train=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "train"),
        shard=lambda wildcards: f"{RESULTS}/pack/{wildcards.test}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        meshes=directory(f"{RESULTS}/reconstruct/baseline_{{baseline}}/{{test}}"),
    log:
        f"{RESULTS}/logs/reconstruct/baseline_{{baseline}}/{{test}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/reconstruct/baseline_{{baseline}}/{{test}}.tsv"
    wildcard_constraints:
        test="test-[0-9]+",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("train"),
        seed=CONFIG.seed,
        versions=versions("reconstruct"),
    message:
        "reconstruct: shard {wildcards.test} by baseline {wildcards.baseline}"
    shell:
        "{params.occnet} baseline_shard --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --kind {wildcards.baseline:q} --train {params.packs:q} "
        "--out {output.meshes:q}"


rule reconstruct:
    """Meshes of all test shapes by all models and baselines."""
    input:
        per_shard(
            f"{RESULTS}/reconstruct/{{model}}/{{shard}}",
            "test",
            model=[*MODELS, *BASELINES],
        ),
    localrule: True
    message:
        "reconstruct: done"
