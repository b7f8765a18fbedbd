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
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        **field_options(),
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
        uncertain_fields,
        calibrations=expand(
            rules.calibrate_model.output.calibration, model=CONFIG.measured_models
        ),
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
        networks=lambda wildcards, input: Path(input.calibrations[0]).parents[1],
        shards=shard_names("test"),
        models=CONFIG.uncertain_models,
        seed=CONFIG.seed,
        bootstrap=CONFIG.evaluate.bootstrap,
        versions=versions("evaluate", "summarise", "uncertainty"),
    message:
        "evaluate: tables of uncertainty"
    shell:
        "{params.occnet} uncertainty_tables --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q} --networks {params.networks:q}"


rule evaluate_next_view:
    """IoU over the number of views of one shard's shapes by one network, by policy of the next view."""
    input:
        checkpoint=rules.train_model.output.best,
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/evaluate/{{model}}/{{shard}}.next.csv",
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/{{shard}}.next.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/{{shard}}.next.tsv"
    conda:
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        **field_options(),
        occnet=occnet,
        threshold=CONFIG.reconstruct.threshold,
        views=CONFIG.evaluate.views,
        points=CONFIG.evaluate.view_points,
        next_view=NEXT_VIEW,
        seed=CONFIG.seed,
        versions=versions("evaluate", "reconstruct"),
    message:
        "evaluate: next views of shard {wildcards.shard} by {wildcards.model}"
    shell:
        "{params.occnet} evaluate_next_view --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --model {wildcards.model:q} "
        "--out {output.table:q}"


rule next_view:
    """Table of the policies of the next view over all shapes and models."""
    input:
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.next.csv",
            "test",
            model=CONFIG.measured_models,
        ),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/evaluate/next_view.csv",
    log:
        f"{RESULTS}/logs/evaluate/next_view.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/next_view.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.table).parent,
        shards=shard_names("test"),
        models=CONFIG.measured_models,
        seed=CONFIG.seed,
        bootstrap=CONFIG.evaluate.bootstrap,
        versions=versions("evaluate", "summarise"),
    message:
        "evaluate: table of next views"
    shell:
        "{params.occnet} next_view_table --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q}"
