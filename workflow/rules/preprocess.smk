# raw mesh -> watertight -> points -> views: one job a shard, one file a shape
rule demo:
    """Raw meshes of the bundled shapes alone."""
    input:
        config=ancient(CONFIG_FILE),
    output:
        done=f"{RESULTS}/demo/demo.json",
    log:
        f"{RESULTS}/logs/demo.log",
    benchmark:
        f"{RESULTS}/benchmarks/demo.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        occnet=occnet,
        folder=lambda wildcards, output: Path(output.done).parent,
        demo=CONFIG.demo.model_dump(),
        seed=CONFIG.seed,
        versions=versions("demo"),
    message:
        "demo: making the bundled shapes"
    shell:
        "{params.occnet} demo --config {input.config:q} --log {log:q} "
        "{params.folder:q}"


STATE = dataset_state()


checkpoint catalogue:
    """List of the shapes with their splits and shards."""
    input:
        rules.demo.output.done if CONFIG.is_demo else [],
        config=ancient(CONFIG_FILE),
    output:
        table=CATALOGUE,
    log:
        f"{RESULTS}/logs/catalogue.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalogue.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        occnet=occnet,
        root=lambda wildcards: ROOT,  # as text, it is taken to be a prefix of the demo's output
        dataset=CONFIG.dataset.model_dump(),
        seed=CONFIG.seed,
        state=STATE,
    message:
        "catalogue: listing the shapes of {params.dataset[root]}"
    shell:
        "{params.occnet} catalogue --config {input.config:q} --log {log:q} "
        "{params.root:q} --state {params.state:q} --out {output.table:q}"


rule shape:
    """One shape alone: `snakemake results/preprocess/shapes/<category>/<id>.h5`."""
    input:
        table=ancient(CATALOGUE),
        config=ancient(CONFIG_FILE),
    output:
        shape=f"{RESULTS}/preprocess/shapes/{{category}}/{{id}}.h5",
    log:
        f"{RESULTS}/logs/shapes/{{category}}/{{id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/shapes/{{category}}/{{id}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(3000),
        runtime=30,
    params:
        occnet=occnet,
    message:
        "shape: {wildcards.category}/{wildcards.id}"
    shell:
        "{params.occnet} shape --config {input.config:q} --log {log:q} "
        "--shape={wildcards.category:q}/{wildcards.id:q} --table {input.table:q} --out {output.shape:q}"


rule preprocess_shard:
    """All shapes of one shard."""
    input:
        table=ancient(CATALOGUE),
        changed=changed_shapes,
        config=ancient(CONFIG_FILE),
    output:
        table=f"{RESULTS}/preprocess/shards/{{shard}}.csv",
    log:
        f"{RESULTS}/logs/preprocess/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/preprocess/{{shard}}.tsv"
    # All cores stay busy: a pack takes one, for which the next shard, which takes several, would wait. Where packing removes
    # shape files, the disk decides.
    priority: 2 if KEEP_SHAPES else 0
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=scaled_mem(6000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        occnet=occnet,
        seed=CONFIG.seed,
        up=CONFIG.dataset.up,
        watertight=CONFIG.watertight.model_dump(),
        points=CONFIG.points.model_dump(),
        views=CONFIG.views.model_dump(),
        samples=CONFIG.samples.model_dump(),
        audit=CONFIG.audit.model_dump(),
        members=membership_digest,
        versions=versions("watertight", "points", "views", "samples"),
        shapes=f"{RESULTS}/preprocess/shapes",
    message:
        "preprocess: shard {wildcards.shard}"
    shell:
        "{params.occnet} preprocess_shard --config {input.config:q} --log {log:q} "
        "{wildcards.shard:q} --table {input.table:q} --workers {threads} --shapes {params.shapes:q} "
        "--out {output.table:q}"


rule preprocess_table:
    """Table of all shapes with their status."""
    input:
        per_shard(f"{RESULTS}/preprocess/shards/{{shard}}.csv"),
        config=ancient(CONFIG_FILE),
        table=ancient(CATALOGUE),
    output:
        table=report(
            f"{RESULTS}/preprocess/shapes.csv",
            caption="../report/shapes.rst",
            category="Data",
        ),
    log:
        f"{RESULTS}/logs/preprocess_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/preprocess_table.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        occnet=occnet,
        folder=f"{RESULTS}/preprocess/shards",
        shards=shard_names(),
    message:
        "preprocess: one table of all shapes"
    shell:
        "{params.occnet} preprocess_table --config {input.config:q} --log {log:q} "
        "{params.folder:q} --table {input.table:q} --out {output.table:q}"


rule check_failures:
    """Gate: stops before training when more than preprocess.max_failed of the shapes failed."""
    input:
        table=rules.preprocess_table.output.table,
        config=ancient(CONFIG_FILE),
    output:
        accepted=f"{RESULTS}/preprocess/accepted.json",
    log:
        f"{RESULTS}/logs/check_failures.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_failures.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        occnet=occnet,
        max_failed=CONFIG.preprocess.max_failed,
    message:
        "preprocess: at most {params.max_failed} of the shapes may have failed"
    shell:
        "{params.occnet} check_failures --config {input.config:q} --log {log:q} "
        "{input.table:q} --out {output.accepted:q}"


rule rerun:
    """Process one shape once more (`--config shape=<id>` or `shape=<category>/<id>`), or every failed one (`shape=failed`)."""

    # No benchmark: where its file is there already, Snakemake takes a rule without output for done.
    input:
        config=ancient(CONFIG_FILE),
    log:
        f"{RESULTS}/logs/rerun.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(3000),
        runtime=240,
    params:
        occnet=occnet,
        table=CATALOGUE,
        shapes=f"{RESULTS}/preprocess/shapes",
        shape=SHAPE,
    message:
        "rerun: {params.shape}"
    shell:
        "{params.occnet} rerun --config {input.config:q} --log {log:q} "
        "--shape={params.shape:q} --table {params.table:q} --shapes {params.shapes:q}"
