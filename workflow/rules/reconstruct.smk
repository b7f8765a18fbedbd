# networks and photos of test shapes -> closed meshes; the baselines' meshes too
rule reconstruct_shard:
    """Meshes of the test shapes of one shard by one model."""
    input:
        checkpoint=rules.train_model.output.best,
        shard=f"{RESULTS}/pack/{{shard}}.h5",
    output:
        meshes=directory(f"{RESULTS}/reconstruct/{{model}}/{{shard}}"),
    log:
        f"{RESULTS}/logs/reconstruct/{{model}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/reconstruct/{{model}}/{{shard}}.tsv"
    wildcard_constraints:
        model="(?!baseline_)[A-Za-z0-9_-]+",
    conda:
        "../../envs/cpu.yaml"
        if CONFIG.reconstruct.accelerator == "cpu"
        else "../../envs/cuda.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=0 if CONFIG.reconstruct.accelerator == "cpu" else 1,
    params:
        seed=CONFIG.seed,
        reconstruct=CONFIG.reconstruct.model_dump(),
        versions=versions("reconstruct"),
    message:
        "reconstruct: shard {wildcards.shard} by {wildcards.model}"
    shell:
        f"{occnet('reconstruct')} --checkpoint {{input.checkpoint:q}} --pack {{input.shard:q}} --out {{output.meshes:q}}"


rule index_pictures:
    """Features of all training pictures and test photos, as they are."""
    input:
        over(f"{RESULTS}/pack/{{shard}}.h5", "train", "test"),
    output:
        index=f"{RESULTS}/index/images.h5",
    log:
        f"{RESULTS}/logs/index/images.log",
    benchmark:
        f"{RESULTS}/benchmarks/index/images.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        shards=names("train", "test"),
        view=CONFIG.reconstruct.view,
        versions=versions("reconstruct"),
    message:
        "reconstruct: features of all pictures, for the baseline nearest_image"
    shell:
        f"{occnet('index_pictures')} --out {{output.index:q}}"


rule index_codes:
    """Codes of training pictures and test photos by one network's encoder."""
    input:
        over(f"{RESULTS}/pack/{{shard}}.h5", "train", "test"),
        checkpoint=rules.train_model.output.best,
    output:
        index=f"{RESULTS}/index/codes_{{model}}.h5",
    log:
        f"{RESULTS}/logs/index/codes_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/index/codes_{{model}}.tsv"
    conda:
        "../../envs/cpu.yaml"
        if CONFIG.reconstruct.accelerator == "cpu"
        else "../../envs/cuda.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=0 if CONFIG.reconstruct.accelerator == "cpu" else 1,
    params:
        shards=names("train", "test"),
        view=CONFIG.reconstruct.view,
        views=CONFIG.evaluate.code_views,
        versions=versions("reconstruct"),
    message:
        "reconstruct: codes of pictures by {wildcards.model}, for its baselines"
    shell:
        f"{occnet('index_codes')} --checkpoint {{input.checkpoint:q}} --out {{output.index:q}}"


rule clusters:
    """Clusters of the training shapes."""
    input:
        over(f"{RESULTS}/pack/{{shard}}.h5", "train"),
    output:
        index=f"{RESULTS}/index/clusters.h5",
    log:
        f"{RESULTS}/logs/index/clusters.log",
    benchmark:
        f"{RESULTS}/benchmarks/index/clusters.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        shards=names("train"),
        seed=CONFIG.seed,
        clusters=CONFIG.evaluate.clusters,
        versions=versions("reconstruct"),
    message:
        "reconstruct: clusters of the training shapes, for the baseline clustering"
    shell:
        f"{occnet('clusters')} --out {{output.index:q}}"


rule baseline_shard:
    """Meshes of the test shapes of one shard by one baseline."""
    input:
        looked_up,
        train=over(f"{RESULTS}/pack/{{shard}}.h5", "train"),
        shard=lambda wildcards: f"{RESULTS}/pack/{wildcards.test}.h5",
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
        mem_mb=growing(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        shards=names("train"),
        seed=CONFIG.seed,
        versions=versions("reconstruct"),
    message:
        "reconstruct: shard {wildcards.test} by baseline {wildcards.baseline}"
    shell:
        f"{occnet('baseline')} --kind {{wildcards.baseline:q}} --pack {{input.shard:q}} --out {{output.meshes:q}}"


rule reconstruct:
    """Meshes of all test shapes by all models and baselines."""
    input:
        over(
            f"{RESULTS}/reconstruct/{{model}}/{{shard}}",
            "test",
            model=[*MODELS, *BASELINES],
        ),
    message:
        "reconstruct: done"
