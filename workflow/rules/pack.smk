# shape files -> pack shards, which training and everything after it reads
rule pack_shard:
    """The pack file of one shard."""
    input:
        table=f"{RESULTS}/preprocess/shards/{{shard}}.csv",
    output:
        pack=f"{RESULTS}/pack/{{shard}}.h5",
    log:
        f"{RESULTS}/logs/pack/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pack/{{shard}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=60,
    params:
        shapes=f"{RESULTS}/preprocess/shapes",
        versions=versions("pack"),
    message:
        "pack: shard {wildcards.shard}"
    shell:
        f"{occnet('pack')} --table {{input.table:q}} --shapes {{params.shapes:q}} --out {{output.pack:q}}"


rule preprocess:
    """Training data: raw meshes to closed meshes, points, views and pack files."""
    input:
        rules.preprocess_table.output.table,
        over(f"{RESULTS}/pack/{{shard}}.h5"),
    message:
        "preprocess: done"
