# a dataset of points and pictures (docs/interop.md) -> pack shards: included instead of what makes them of meshes
ruleorder: import_shard > preprocess_shard
ruleorder: import_shard > pack_shard


rule import_shard:
    """All shapes of one shard of a dataset that holds points and pictures already."""
    input:
        table=ancient(f"{RESULTS}/catalogue/shapes.csv"),
    output:
        table=f"{RESULTS}/preprocess/shards/{{shard}}.csv",
        pack=f"{RESULTS}/pack/{{shard}}.h5",
    log:
        f"{RESULTS}/logs/import/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/import/{{shard}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=60,
    params:
        members=members,
        versions=versions("pack", "import"),
    message:
        "import: shard {wildcards.shard}"
    shell:
        f"{occnet('import')} --table {{input.table:q}} --shard {{wildcards.shard:q}} --pack {{output.pack:q}} --out {{output.table:q}}"
