# the configuration as one file, which all jobs read
rule config:
    """The resolved configuration: results/config.json."""
    output:
        config=CONFIG_FILE,
    log:
        f"{RESULTS}/logs/config.log",
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=100,
        runtime=30,
    params:
        # Of `output`, so that another text does not trigger this job: Snakemake would not look for changes in its
        # dependents then. `refresh_config` replaces an outdated file.
        text=lambda wildcards, output: CONFIG_TEXT,
    message:
        "config: {output.config}"
    shell:
        "printf %s {params.text:q} > {output.config:q} 2> {log:q}"
