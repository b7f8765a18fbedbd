# a dataset of points and images (docs/interop.md) -> pack shards; replaces preprocessing of meshes
ruleorder: import_shard > preprocess_shard
ruleorder: import_shard > pack_shard


rule import_shard:
    """All shapes of one shard of a dataset that holds points and images already."""
    input:
        table=ancient(CATALOGUE),
        config=ancient(CONFIG_FILE),
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
        mem_mb=scaled_mem(3000),
        runtime=60,
    params:
        occnet=occnet,
        root=ROOT,
        members=membership_digest,
        versions=versions("pack", "import"),
    message:
        "import: shard {wildcards.shard}"
    shell:
        "{params.occnet} import_shard --config {input.config:q} --log {log:q} "
        "{params.root:q} --table {input.table:q} --shard {wildcards.shard:q} --pack {output.pack:q} "
        "--out {output.table:q}"
