# figures about the data and the networks
rule analyse_statistics:
    """Statistics of the data."""
    input:
        over(f"{RESULTS}/pack/{{shard}}.h5"),
    output:
        table=f"{RESULTS}/analyse/statistics.csv",
    log:
        f"{RESULTS}/logs/analyse/statistics.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/statistics.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        shards=names(),
        versions=versions("analyse"),
    message:
        "analyse: statistics of the data"
    shell:
        f"{occnet('statistics')} --out {{output.table:q}}"


rule analyse_projections:
    """Points projected onto their images."""
    input:
        over(f"{RESULTS}/pack/{{shard}}.h5", "test"),
    output:
        figures=directory(f"{RESULTS}/analyse/projections"),
    log:
        f"{RESULTS}/logs/analyse/projections.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/projections.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        shards=names("test"),
        projections=CONFIG.analyse.projections,
        versions=versions("analyse"),
    message:
        "analyse: points projected onto their images"
    shell:
        f"{occnet('projections')} --out {{output.figures:q}}"


rule analyse_embedding:
    """t-SNE of one network's embeddings."""
    input:
        checkpoint=rules.train_model.output.best,
        shards=over(f"{RESULTS}/pack/{{shard}}.h5", "test", "val"),
    output:
        table=f"{RESULTS}/analyse/embedding_{{model}}.csv",
    log:
        f"{RESULTS}/logs/analyse/embedding_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/analyse/embedding_{{model}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        shards=names("test", "val"),
        seed=CONFIG.seed,
        views=CONFIG.analyse.embedding_views,
        shapes=CONFIG.analyse.embedding_shapes,
        perplexity=CONFIG.analyse.perplexity,
        versions=versions("analyse", "reconstruct"),
    message:
        "analyse: t-SNE of the embeddings of {wildcards.model}"
    shell:
        f"{occnet('embedding')} --checkpoint {{input.checkpoint:q}} --out {{output.table:q}}"


rule analyse:
    """Figures about the data and the networks."""
    input:
        rules.analyse_statistics.output.table,
        rules.analyse_projections.output.figures,
        expand(rules.analyse_embedding.output.table, model=MODELS),
    message:
        "analyse: done"
