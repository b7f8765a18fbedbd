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
        text=lambda wildcards: CONFIG_TEXT,
    message:
        "config: {output.config}"
    shell:
        "printf %s {params.text:q} > {output.config:q} 2> {log:q}"
