# Functions only: what the rules derive from the configuration, the catalogue and the files that exist.
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Where this file is, also in a workflow that imports this one as a module.
PROJECT = Path(workflow.current_basedir).parents[1]
try:
    from occnet_lib.config import check, digest
    from occnet_lib.errors import OccnetError
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"no module {error.name} in {sys.executable}; run `pip install -e {PROJECT}` there"
    ) from None

# `--config shape=…` names the shape that `rerun` processes: an argument of that target, no setting.
SHAPE = "" if config.get("shape") is None else str(config["shape"])  # `shape=` is None
try:
    CONFIG = check({key: value for key, value in config.items() if key != "shape"})
except OccnetError as error:
    raise WorkflowError(str(error)) from None

RESULTS = CONFIG.results.rstrip("/")
CONFIG_FILE = f"{RESULTS}/config.json"
CONFIG_TEXT = CONFIG.model_dump_json(indent=2)
CATALOGUE = f"{RESULTS}/catalogue/shapes.csv"
ROOT = CONFIG.dataset_root
MODELS = list(CONFIG.models)  # with further seeds
COMPARED = [
    training
    for name in dict.fromkeys(
        name for pair in CONFIG.evaluate.compare.items() for name in pair
    )
    for training in CONFIG.seeds_of(name)
]
KEEP_SHAPES = CONFIG.preprocess.keep_shapes
BASELINES = CONFIG.baseline_names
USES_GRAPH = CONFIG.reconstruct.refinement in ("graph", "both")
FURTHER_GRAPH = "graph" if CONFIG.graph_refinement == "both" else "both"
DEVICES = CONFIG.train.hardware.devices * CONFIG.train.hardware.nodes
TRAINING_GPUS = 0 if CONFIG.train.hardware.accelerator == "cpu" else DEVICES
INFERENCE_GPUS = 0 if CONFIG.reconstruct.accelerator == "cpu" else 1


wildcard_constraints:
    category="[^/]+",
    id="[^/]+",
    shard="(train|val|test)-[0-9]+",
    model="[A-Za-z0-9_-]+",
    baseline="[a-z_]+(-[A-Za-z0-9_-]+)?",


def occnet(wildcards, input):
    """A parameter: the start of a job's shell command.

    Snakemake does not compare parameters that depend on `input` between runs: another path of the interpreter and
    another configuration do not require running a job again. The digest is that of the configuration file.
    """
    if workflow.deployment_settings.deployment_method:
        # The environments of envs/ have the libraries, not this package.
        python = f"PYTHONPATH={shlex.quote(str(PROJECT))}${{PYTHONPATH:+:$PYTHONPATH}} python"
    else:
        python = shlex.quote(sys.executable)
    return f"{python} -m occnet_lib job --digest {digest(CONFIG_TEXT)}"


def network_env(accelerator):
    """The conda environment of a rule that runs a network."""
    return "../../envs/cpu.yaml" if accelerator == "cpu" else "../../envs/cuda.yaml"


def versions(*stages):
    """The versions of stages: a stage whose results have another meaning now is redone."""
    from occnet_lib.versions import VERSIONS

    return {stage: VERSIONS[stage] for stage in stages}


def field_options():
    """Parameters of rules that evaluate fields: averaging over several cameras, fit to the image. None at their defaults."""
    poses, fit = CONFIG.reconstruct.poses, CONFIG.reconstruct.fit
    return if_set(poses=poses if poses > 1 else 0, fit=fit)


def scaled_mem(megabytes):
    """Memory that doubles with each attempt."""
    return lambda wildcards, attempt: megabytes * 2 ** (attempt - 1)


@cache
def catalogue_at(path, mtime_ns):
    """Shapes by shard, read once for each state of the table."""
    from occnet_lib.storage.dataset.catalogue import read_table

    by_shard = {}
    for key in read_table(Path(path)):
        by_shard.setdefault(key.shard, []).append(key)
    return by_shard


def catalogue():
    table = checkpoints.catalogue.get().output.table
    return catalogue_at(table, Path(table).stat().st_mtime_ns)


def shards(*splits):
    """Names of the shards of splits, in order."""
    return sorted(
        shard for shard in catalogue() if not splits or shard.split("-")[0] in splits
    )


def is_packed_dataset():
    """Whether the dataset holds points and images already (docs/interop.md), so that there is nothing to preprocess."""
    from occnet_lib.interop.conversion import packed_dataset_layout, was_imported
    from occnet_lib.storage.dataset.state import is_available

    if CONFIG.is_demo:
        return False
    if not is_available(ROOT):
        return was_imported(RESULTS)
    return packed_dataset_layout(ROOT) is not None


IMPORTED = is_packed_dataset()


def shape_file(key):
    return f"{RESULTS}/preprocess/shapes/{key.category}/{key.id}.h5"


def changed_shapes(wildcards):
    """Traces of shape files that were lost, or made one by one, after their shard was finished.

    These are inputs of their shard's job, which so runs again: a newer shape file itself, and for a lost one, which
    Snakemake would not miss, the folder that it was in, which became newer then. The job keeps all other shapes.
    Without `preprocess.keep_shapes` none is lost: packing removes them.
    """
    table = Path(f"{RESULTS}/preprocess/shards/{wildcards.shard}.csv")
    if not table.exists():
        return []
    finished = table.stat().st_mtime_ns
    changed = set()
    for path in (Path(shape_file(key)) for key in catalogue()[wildcards.shard]):
        if not path.exists():
            if KEEP_SHAPES:
                changed.add(next(folder for folder in path.parents if folder.exists()))
        elif path.stat().st_mtime_ns > finished:
            changed.add(path)
    return sorted(map(str, changed))


@cache
def versions_at(path, mtime_ns):
    from occnet_lib.storage.dataset.state import read_versions

    return read_versions(path)


def membership_digest(wildcards):
    """A digest of the shapes of a shard, their paths, and the versions of their files.

    The files themselves are not inputs: one that is missing is its shape's failure, not the shard's, and one that is
    newer need not have another content.
    """
    keys = catalogue()[wildcards.shard]
    path = Path(CATALOGUE).with_name("sources.csv")
    versions = versions_at(path, path.stat().st_mtime_ns) if path.exists() else {}
    return digest([(key.name, key.path, versions.get(key.name, "")) for key in keys])


def per_shard(pattern, *splits, **values):
    """An input function: `pattern` over the shards of splits."""
    return lambda wildcards: expand(
        pattern, shard=shards(*splits), **values, **dict(wildcards)
    )


def shard_names(*splits):
    """A parameter: the shards of splits. One more or one less makes their rule run again; new inputs do not."""
    return lambda wildcards: shards(*splits)


def multinode_resources():
    """Slurm resources of a training on several nodes, which has one task per device."""
    if CONFIG.train.hardware.nodes == 1:
        return {}
    return {
        "nodes": CONFIG.train.hardware.nodes,
        "mpi": "srun",
        "tasks": DEVICES,
        "tasks_per_gpu": 0,
    }


def srun_prefix():
    """The command that starts the tasks of a training on several nodes."""
    if CONFIG.train.hardware.nodes == 1:
        return ""
    tasks = f"--ntasks={DEVICES} --ntasks-per-node={CONFIG.train.hardware.devices}"
    return f"srun --kill-on-bad-exit=1 {tasks} "  # after one has failed, the others would wait for it


def baseline_index(wildcards):
    """The index files of a baseline."""
    kind, _, model = wildcards.baseline.partition("-")
    files = {
        "nearest_image": ["images"],
        "retrieval": [f"codes_{model}"],
        "clustering": [f"codes_{model}", "clusters"],
    }
    return [f"{RESULTS}/index/{name}.h5" for name in files.get(kind, [])]


UNCERTAINTY = bool(CONFIG.evaluate.uncertainty) and CONFIG.evaluate.views > 0
NEXT_VIEW = CONFIG.evaluate.next_view


def uncertainty_output(source):
    """A further output of the fields of views or photos, if their uncertainty is measured."""
    if not CONFIG.evaluate.uncertainty:
        return {}
    return {
        "reliability": f"{RESULTS}/evaluate/{{model}}/{{shard}}.{source}.reliability.csv"
    }


def uncertain_fields(wildcards):
    """The tables of all models' fields of views and photos, with their uncertainty."""
    tables = f"{RESULTS}/evaluate/{{model}}/{{shard}}.{{source}}{{table}}"
    return [
        path
        for source, models in CONFIG.uncertain_models.items()
        for path in expand(
            tables,
            model=models,
            shard=shards("test"),
            source=source,
            table=[".csv", ".reliability.csv"],
        )
    ]


def if_set(**values):
    """Parameters with a value; none by default, so that finished results stay as they are."""
    return {name: value for name, value in values.items() if value}
