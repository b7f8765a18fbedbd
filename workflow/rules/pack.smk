# shape files -> pack shards, which training and everything after it reads
rule pack_shard:
    """The pack file of one shard."""
    input:
        table=f"{RESULTS}/preprocess/shards/{{shard}}.csv",
        config=ancient(CONFIG_FILE),
        catalogue=ancient(CATALOGUE),
    output:
        pack=f"{RESULTS}/pack/{{shard}}.h5",
    log:
        f"{RESULTS}/logs/pack/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pack/{{shard}}.tsv"
    priority: 1  # training waits for the last of them
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(1000),
        runtime=60,
    params:
        occnet=occnet,
        shapes=f"{RESULTS}/preprocess/shapes",
        versions=versions("pack"),
    message:
        "pack: shard {wildcards.shard}"
    shell:
        "{params.occnet} pack --config {input.config:q} --log {log:q} "
        "{params.shapes:q} --table {input.catalogue:q} --out {output.pack:q}"


rule preprocess:
    """Training data: raw meshes to closed meshes, points, views and pack files."""
    input:
        rules.preprocess_table.output.table,
        per_shard(f"{RESULTS}/pack/{{shard}}.h5"),
    localrule: True
    message:
        "preprocess: done"
