# meshes -> metrics
rule evaluate_shard:
    """Metrics of one shard's meshes by one model."""
    input:
        meshes=f"{RESULTS}/reconstruct/{{model}}/{{shard}}",
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/evaluate/{{model}}/{{shard}}.csv",
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/{{shard}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        occnet=occnet,
        seed=CONFIG.seed,
        surface=CONFIG.evaluate.surface,
        original=lambda wildcards: (
            CONFIG.evaluate.original == "all"
            or CONFIG.evaluate.original == "floor"
            and wildcards.model == "baseline_floor"
        ),
        versions=versions("evaluate"),
    message:
        "evaluate: shard {wildcards.shard} of {wildcards.model}"
    shell:
        "{params.occnet} evaluate_shard --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --model {wildcards.model:q} --meshes {input.meshes:q} "
        "--out {output.table:q}"


rule evaluate_views:
    """IoU of one network's field for every view of one shard's shapes."""
    input:
        checkpoint=rules.train_model.output.best,
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        **uncertainty_output("views"),
        table=f"{RESULTS}/evaluate/{{model}}/{{shard}}.views.csv",
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/{{shard}}.views.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/{{shard}}.views.tsv"
    conda:
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        **if_set(uncertainty=bool(CONFIG.evaluate.uncertainty)),
        **field_options(),
        occnet=occnet,
        threshold=CONFIG.reconstruct.threshold,
        views=CONFIG.evaluate.views,
        points=CONFIG.evaluate.view_points,
        merged=CONFIG.evaluate.merged,
        seed=CONFIG.seed,
        versions=versions("evaluate", "reconstruct"),
    message:
        "evaluate: views of shard {wildcards.shard} by {wildcards.model}"
    shell:
        "{params.occnet} evaluate_views --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --model {wildcards.model:q} "
        "--out {output.table:q}"


rule evaluate_cameras:
    """Predicted cameras of every view of one shard's shapes, by one network with `pose: true`."""
    input:
        checkpoint=rules.train_model.output.best,
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/evaluate/{{model}}/{{shard}}.cameras.csv",
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/{{shard}}.cameras.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/{{shard}}.cameras.tsv"
    conda:
        "../../envs/cpu.yaml"
        if CONFIG.reconstruct.accelerator == "cpu"
        else "../../envs/cuda.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        **if_set(fit=CONFIG.reconstruct.fit),
        occnet=occnet,
        threshold=CONFIG.reconstruct.threshold,
        views=CONFIG.evaluate.views,
        points=CONFIG.evaluate.view_points,
        versions=versions("evaluate", "reconstruct"),
    message:
        "evaluate: cameras of shard {wildcards.shard} by {wildcards.model}"
    shell:
        "{params.occnet} evaluate_cameras --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --model {wildcards.model:q} "
        "--out {output.table:q}"


rule camera_table:
    """Errors of predicted cameras by model and class."""
    input:
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.cameras.csv",
            "test",
            model=CONFIG.pose_models,
        ),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/evaluate/cameras.csv",
    log:
        f"{RESULTS}/logs/camera_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/camera_table.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.table).parent,
        shards=shard_names("test"),
        models=CONFIG.pose_models,
        versions=versions("evaluate"),
    message:
        "evaluate: {output.table}"
    shell:
        "{params.occnet} camera_table --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q} --out {output.table:q}"


rule photograph_shard:
    """Photos of one shard's shapes by a renderer that training never uses."""
    input:
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        photos=directory(f"{RESULTS}/photos/{{shard}}"),
    log:
        f"{RESULTS}/logs/photos/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/photos/{{shard}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        occnet=occnet,
        seed=CONFIG.seed,
        photos=CONFIG.evaluate.photos,
        versions=versions("evaluate"),
    message:
        "evaluate: photos of shard {wildcards.shard}"
    shell:
        "{params.occnet} photograph_shard --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --out {output.photos:q}"


rule evaluate_photos:
    """IoU of one network's field for the photos of one shard's shapes."""
    input:
        checkpoint=rules.train_model.output.best,
        photos=rules.photograph_shard.output.photos,
        shard=f"{RESULTS}/pack/{{shard}}.h5",
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        **uncertainty_output("photos"),
        table=f"{RESULTS}/evaluate/{{model}}/{{shard}}.photos.csv",
    log:
        f"{RESULTS}/logs/evaluate/{{model}}/{{shard}}.photos.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{model}}/{{shard}}.photos.tsv"
    conda:
        network_env(CONFIG.reconstruct.accelerator)
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=INFERENCE_GPUS,
    params:
        **if_set(uncertainty=bool(CONFIG.evaluate.uncertainty)),
        **field_options(),
        occnet=occnet,
        threshold=CONFIG.reconstruct.threshold,
        points=CONFIG.evaluate.view_points,
        merged=CONFIG.evaluate.merged,
        seed=CONFIG.seed,
        versions=versions("reconstruct", "evaluate"),
    message:
        "evaluate: photos of shard {wildcards.shard} by {wildcards.model}"
    shell:
        "{params.occnet} evaluate_photos --config {input.config:q} --log {log:q} "
        "{input.shard:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --model {wildcards.model:q} "
        "--photos {input.photos:q} --out {output.table:q}"


rule evaluate:
    """Tables of metrics of all models and baselines."""
    input:
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.csv",
            "test",
            model=[*MODELS, *BASELINES],
        ),
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.views.csv",
            "test",
            model=MODELS if CONFIG.evaluate.views else [],
        ),
        per_shard(
            f"{RESULTS}/evaluate/{{model}}/{{shard}}.photos.csv",
            "test",
            model=CONFIG.photo_models,
        ),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        shapes=f"{RESULTS}/evaluate/shapes.csv",
        classes=report(
            f"{RESULTS}/evaluate/classes.csv",
            caption="../report/classes.rst",
            category="Metrics",
        ),
        differences=report(
            f"{RESULTS}/evaluate/differences.csv",
            caption="../report/differences.rst",
            category="Metrics",
        ),
        merged=f"{RESULTS}/evaluate/merged.csv",
        models=report(
            f"{RESULTS}/evaluate/models.csv",
            caption="../report/models.rst",
            category="Metrics",
        ),
    log:
        f"{RESULTS}/logs/evaluate.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.models).parent,
        shards=shard_names("test"),
        models=[*MODELS, *BASELINES],
        views=CONFIG.evaluate.views,
        photos=CONFIG.evaluate.photos,
        merged=CONFIG.evaluate.merged,
        seed=CONFIG.seed,
        bootstrap=CONFIG.evaluate.bootstrap,
        versions=versions("evaluate", "summarise"),
    message:
        "evaluate: tables over shapes, classes and models"
    shell:
        "{params.occnet} evaluate_tables --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q}"


rule evaluate_gains:
    """Differences between models and their references, over shapes and training seeds (`evaluate.compare`)."""
    input:
        shapes=rules.evaluate.output.shapes,
        options=expand(rules.train_model.output.options, model=COMPARED),
        config=ancient(CONFIG_FILE),
    output:
        table=report(
            f"{RESULTS}/evaluate/gains.csv",
            caption="../report/gains.rst",
            category="Metrics",
        ),
    log:
        f"{RESULTS}/logs/evaluate_gains.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_gains.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        results=lambda wildcards, input: Path(input.config).parent,
        compare=CONFIG.evaluate.compare,
        trainings=COMPARED,
        versions=versions("summarise"),
    message:
        "evaluate: {output.table}"
    shell:
        "{params.occnet} evaluate_gains --config {input.config:q} --log {log:q} "
        "{params.results:q} --out {output.table:q}"
