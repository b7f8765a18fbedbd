# fields of views and photos -> calibration, expected IoU
rule calibrate_model:
    """The calibration of one network's expected IoU, on the validation set."""
    input:
        checkpoint=rules.train_model.output.best,
        shards=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "val"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        calibration=f"{RESULTS}/train/{{model}}/best.calibration.json",
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/calibrate.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/calibrate.tsv"
    conda:
        "../../envs/cpu.yaml"
        if CONFIG.reconstruct.accelerator == "cpu"
        else "../../envs/cuda.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=0 if CONFIG.reconstruct.accelerator == "cpu" else 1,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("val"),
        threshold=CONFIG.reconstruct.threshold,
        views=CONFIG.evaluate.views,
        points=CONFIG.evaluate.view_points,
        merged=CONFIG.evaluate.merged,
        seed=CONFIG.seed,
        versions=versions("evaluate", "reconstruct"),
    message:
        "evaluate: calibration of {wildcards.model}"
    shell:
        "{params.occnet} calibrate --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --out {output.calibration:q}"


rule uncertainty:
    """Tables of calibration, expected IoU and camera poses of all models."""
    input:
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.{{source}}.csv",
            "test",
            model=MODELS,
            source=["views", *(["photos"] if CONFIG.evaluate.photos else [])],
        ),
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.{{source}}.reliability.csv",
            "test",
            model=MODELS,
            source=["views", *(["photos"] if CONFIG.evaluate.photos else [])],
        ),
        calibrations=expand(rules.calibrate_model.output.calibration, model=MODELS),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        calibration=f"{RESULTS}/evaluate/calibration.csv",
        reliability=f"{RESULTS}/evaluate/reliability.csv",
        expected=f"{RESULTS}/evaluate/expected_iou.csv",
        poses=f"{RESULTS}/evaluate/poses.csv",
        tests=f"{RESULTS}/evaluate/pose_tests.csv",
        choice=f"{RESULTS}/evaluate/view_choice.csv",
    log:
        f"{RESULTS}/logs/evaluate/uncertainty.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/uncertainty.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.calibration).parent,
        networks=f"{RESULTS}/train",
        shards=shard_names("test"),
        models=MODELS,
        seed=CONFIG.seed,
        bootstrap=CONFIG.evaluate.bootstrap,
        versions=versions("evaluate", "summarise"),
    message:
        "evaluate: tables of uncertainty"
    shell:
        "{params.occnet} uncertainty_tables --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q} --networks {params.networks:q}"
