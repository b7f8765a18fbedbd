# raw mesh -> watertight -> points -> views: one job a shard, one file a shape
rule demo:
    """Raw meshes of the bundled shapes alone."""
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
        demo=CONFIG.demo.model_dump(),
        seed=CONFIG.seed,
        versions=versions("demo"),
    message:
        "demo: making the bundled shapes"
    shell:
        f"{occnet('demo')} --out {{output.done:q}}"


checkpoint catalogue:
    """List of the shapes with their splits and shards."""
    input:
        rules.demo.output.done if CONFIG.is_demo else [],
    output:
        table=f"{RESULTS}/catalogue/shapes.csv",
    log:
        f"{RESULTS}/logs/catalogue.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalogue.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        dataset=CONFIG.dataset.model_dump(),
        seed=CONFIG.seed,
        state=dataset_state(),
    message:
        "catalogue: listing the shapes of {params.dataset[root]}"
    shell:
        f"{occnet('catalogue')} --state {{params.state:q}} --out {{output.table:q}}"


rule shape:
    """One shape alone: `snakemake results/preprocess/shapes/<category>/<id>.h5`."""
    input:
        table=ancient(f"{RESULTS}/catalogue/shapes.csv"),
    output:
        shape=f"{RESULTS}/preprocess/shapes/{{category}}/{{id}}.h5",
    log:
        f"{RESULTS}/logs/shapes/{{category}}/{{id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/shapes/{{category}}/{{id}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=30,
    message:
        "shape: {wildcards.category}/{wildcards.id}"
    shell:
        f"{occnet('shape')} --table {{input.table:q}} --shape {{wildcards.category:q}}/{{wildcards.id:q}} --out {{output.shape:q}}"


rule preprocess_shard:
    """All shapes of one shard."""
    input:
        table=ancient(f"{RESULTS}/catalogue/shapes.csv"),
        changed=changed_shapes,
    output:
        table=f"{RESULTS}/preprocess/shards/{{shard}}.csv",
    log:
        f"{RESULTS}/logs/preprocess/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/preprocess/{{shard}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=growing(6000),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        seed=CONFIG.seed,
        up=CONFIG.dataset.up,
        watertight=CONFIG.watertight.model_dump(),
        points=CONFIG.points.model_dump(),
        views=CONFIG.views.model_dump(),
        samples=CONFIG.samples.model_dump(),
        audit=CONFIG.audit.model_dump(),
        members=members,
        versions=versions("watertight", "points", "views", "samples"),
        shapes=f"{RESULTS}/preprocess/shapes",
    message:
        "preprocess: shard {wildcards.shard}"
    shell:
        f"{occnet('shard')} --table {{input.table:q}} --shard {{wildcards.shard:q}} --workers {{threads}} --shapes {{params.shapes:q}} --out {{output.table:q}}"


rule preprocess_table:
    """Table of what became of every shape."""
    input:
        over(f"{RESULTS}/preprocess/shards/{{shard}}.csv"),
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
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        shards=names(),
    message:
        "preprocess: one table of all shapes"
    shell:
        f"{occnet('table')} --out {{output.table:q}}"


rule accept:
    """Gate: stops before training when more than preprocess.max_failed of the shapes failed."""
    input:
        table=rules.preprocess_table.output.table,
    output:
        accepted=f"{RESULTS}/preprocess/accepted.json",
    log:
        f"{RESULTS}/logs/accept.log",
    benchmark:
        f"{RESULTS}/benchmarks/accept.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        max_failed=CONFIG.preprocess.max_failed,
    message:
        "preprocess: at most {params.max_failed} of the shapes may have failed"
    shell:
        f"{occnet('accept')} --table {{input.table:q}} --out {{output.accepted:q}}"


rule rerun:
    """One shape again (`--config shape=<id>` or `shape=<category>/<id>`), or every failed one (`shape=failed`)."""

    # No benchmark: where its file is there already, Snakemake takes a rule without output for done.
    log:
        f"{RESULTS}/logs/rerun.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=240,
    params:
        table=f"{RESULTS}/catalogue/shapes.csv",
        shapes=f"{RESULTS}/preprocess/shapes",
        shape=SHAPE,
    message:
        "rerun: {params.shape}"
    shell:
        f"{occnet('rerun')} --table {{params.table:q}} --shapes {{params.shapes:q}} --shape={{params.shape:q}}"
