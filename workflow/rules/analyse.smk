# figures about the data and the networks
rule analyse_statistics:
    """Statistics of the data."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/analyse/statistics.csv",
    log:
        f"{RESULTS}/logs/analyse/statistics.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/statistics.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names(),
        versions=versions("analyse"),
    message:
        "analyse: statistics of the data"
    shell:
        "{params.occnet} statistics --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --out {output.table:q}"


rule analyse_distributions:
    """Geometry and colours of every shape, and mean shapes."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        figures=directory(f"{RESULTS}/analyse/distributions"),
    log:
        f"{RESULTS}/logs/analyse/distributions.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/distributions.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names(),
        seed=CONFIG.seed,
        versions=versions("analyse"),
    message:
        "analyse: geometry and colours of every shape, mean shapes"
    shell:
        "{params.occnet} distributions --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --out {output.figures:q}"


rule analyse_projections:
    """Points projected onto their images."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5", "test"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        figures=directory(f"{RESULTS}/analyse/projections"),
    log:
        f"{RESULTS}/logs/analyse/projections.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/projections.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("test"),
        projections=CONFIG.analyse.projections,
        versions=versions("analyse"),
    message:
        "analyse: points projected onto their images"
    shell:
        "{params.occnet} projections --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --out {output.figures:q}"


rule analyse_embedding:
    """t-SNE of one network's embeddings."""
    input:
        checkpoint=rules.train_model.output.best,
        shards=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "test", "val"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=f"{RESULTS}/analyse/embedding_{{model}}.csv",
    log:
        f"{RESULTS}/logs/analyse/embedding_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/embedding_{{model}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=60,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("test", "val"),
        seed=CONFIG.seed,
        views=CONFIG.analyse.embedding_views,
        shapes=CONFIG.analyse.embedding_shapes,
        perplexity=CONFIG.analyse.perplexity,
        versions=versions("analyse", "reconstruct"),
    message:
        "analyse: t-SNE of the embeddings of {wildcards.model}"
    shell:
        "{params.occnet} embedding --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --accelerator cpu "
        "--out {output.table:q}"


rule analyse_duplicates:
    """Near-duplicates, and the training shape nearest to every test shape."""
    input:
        per_shard(f"{RESULTS}/pack/{{shard}}.h5"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        pairs=f"{RESULTS}/analyse/duplicates/duplicates.csv",
        nearest=f"{RESULTS}/analyse/duplicates/nearest.csv",
    log:
        f"{RESULTS}/logs/analyse/duplicates.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/duplicates.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        folder=lambda wildcards, output: Path(output.pairs).parent,
        shards=shard_names(),
        versions=versions("analyse"),
    message:
        "analyse: near-duplicates and nearest training shapes"
    shell:
        "{params.occnet} duplicates --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --out {params.folder:q}"


rule analyse_fields:
    """Occupancies by one network, and their errors, at points of the report's examples."""
    input:
        checkpoint=rules.train_model.output.best,
        shards=per_shard(f"{RESULTS}/pack/{{shard}}.h5", "test"),
        scores=rules.evaluate.output.shapes,
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        fields=directory(f"{RESULTS}/analyse/fields_{{model}}"),
    log:
        f"{RESULTS}/logs/analyse/fields_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/fields_{{model}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(4000),
        runtime=60,
    params:
        **field_options(),
        occnet=occnet,
        packs=f"{RESULTS}/pack",
        shards=shard_names("test"),
        models=CONFIG.distinct_models,
        view=CONFIG.reconstruct.view,
        threshold=CONFIG.reconstruct.threshold,
        examples=CONFIG.report.examples,
        versions=versions("analyse", "reconstruct"),
    message:
        "analyse: queried points of examples by {wildcards.model}"
    shell:
        "{params.occnet} fields --config {input.config:q} --log {log:q} "
        "{params.packs:q} --table {input.table:q} --checkpoint {input.checkpoint:q} --scores {input.scores:q} "
        "--accelerator cpu --out {output.fields:q}"


rule analyse:
    """Figures about the data and the networks."""
    input:
        rules.analyse_statistics.output.table,
        rules.analyse_distributions.output.figures,
        rules.analyse_projections.output.figures,
        rules.analyse_duplicates.output,
        expand(rules.analyse_embedding.output.table, model=CONFIG.distinct_models),
        expand(rules.analyse_fields.output.fields, model=CONFIG.distinct_models),
    localrule: True
    message:
        "analyse: done"
