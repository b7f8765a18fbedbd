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
        f"{occnet('reconstruct')} --checkpoint {{input.checkpoint}} --pack {{input.shard}} --out {{output.meshes}}"


rule baseline_shard:
    """Meshes of the test shapes of one shard by one baseline."""
    input:
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
        seed=CONFIG.seed,
        versions=versions("reconstruct"),
    message:
        "reconstruct: shard {wildcards.test} by baseline {wildcards.baseline}"
    shell:
        f"{occnet('baseline')} --kind {{wildcards.baseline}} --pack {{input.shard}} --out {{output.meshes}}"


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
