# all results -> one HTML file
rule report:
    """All results, and one HTML page about them: results/report/report.html."""
    input:
        preprocess=rules.preprocess_table.output.table,
        accepted=rules.check_failures.output.accepted,
        metrics=expand(rules.train_model.output.metrics, model=MODELS),
        meshes=per_shard(
            f"{RESULTS}/reconstruct/{{model}}/{{shard}}",
            "test",
            model=[*MODELS, *BASELINES],
        ),
        evaluate=rules.evaluate.output,
        gains=rules.evaluate_gains.output if COMPARED else [],
        cameras=rules.camera_table.output if CONFIG.pose_models else [],
        uncertainty=rules.uncertainty.output if UNCERTAINTY else [],
        next_view=rules.next_view.output if NEXT_VIEW else [],
        refinements=rules.refinement_table.output if CONFIG.refined_models else [],
        analyse=rules.analyse.input,
        config=ancient(CONFIG_FILE),
    output:
        page=report(
            f"{RESULTS}/report/report.html",
            caption="../report/page.rst",
            category="Report",
        ),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        **if_set(
            uncertainty=UNCERTAINTY,
            next_view=NEXT_VIEW,
            refinements=CONFIG.evaluate.refinements,
        ),
        occnet=occnet,
        results=lambda wildcards, input: Path(input.config).parent,
        shards=shard_names(),
        models=[*MODELS, *BASELINES],
        report=CONFIG.report.model_dump(),
        versions=versions("report"),
    message:
        "report: {output.page}"
    shell:
        "{params.occnet} report --config {input.config:q} --log {log:q} "
        "{params.results:q} --out {output.page:q}"


rule clean:
    """Remove the results folder."""
    log:
        ".snakemake/log/clean.log",
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=100,
        runtime=30,
    params:
        results=RESULTS,
    message:
        "clean: removing {params.results}"
    shell:
        "rm -rf {params.results:q} > {log:q} 2>&1"
