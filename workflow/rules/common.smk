# Functions only: what the rules derive from the configuration, the catalogue and the files that exist.
import logging
import shlex
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger as snakemake_logger
from snakemake_interface_logger_plugins.common import LogEvent

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
IS_MODULE = not workflow.modifier.is_main_snakefile()  # as long as this file is parsed
READ_RAW_MESHES = ("catalogue", "preprocess_shard", "shape", "rerun", "import_shard")
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


def start_run():
    """Lock the results folder and remove temporary files of a killed run; one that is still at work keeps its files."""
    from occnet_lib.storage.atomic import sweep
    from occnet_lib.storage.locks import run_lock

    global RUN_LOCK  # held until this process ends
    try:
        RUN_LOCK = run_lock(RESULTS)
    except OccnetError as error:
        raise WorkflowError(str(error)) from None
    check_networks_to_start_from()
    check_raw_meshes()
    sweep(RESULTS)
    refresh_config()


def check_networks_to_start_from():
    """Refuse a `models.<name>.start` that does not fit before anything runs, where torch is installed beside Snakemake."""
    from importlib.util import find_spec

    if find_spec("torch") and any(model.start for model in CONFIG.models.values()):
        from occnet_lib.training.start import check_starts

        try:
            check_starts(CONFIG)
        except OccnetError as error:
            raise WorkflowError(str(error)) from None


def check_raw_meshes():
    """Refuse a run that needs raw meshes which are not available, before Snakemake removes what its jobs shall replace."""
    from occnet_lib.storage.dataset.state import is_available

    needed = Counter(job.rule.name for job in workflow.dag.needrun_jobs())
    needed = {name: needed[name] for name in READ_RAW_MESHES if needed[name]}
    if needed and not (CONFIG.is_demo or workflow.touch or is_available(ROOT)):
        jobs = ", ".join(f"{count} × {name}" for name, count in needed.items())
        raise WorkflowError(
            f"dataset.root: {ROOT} is not available, and this run needs its meshes ({jobs}). Mount it; what is finished "
            "is kept. `snakemake -n` gives the reasons."
        )


def refresh_config():
    """Replace the configuration of an earlier run; rule `config` writes the file only if there is none."""
    from occnet_lib.storage.atomic import replacing

    path = Path(CONFIG_FILE)
    if path.exists() and path.read_text() != CONFIG_TEXT:
        with replacing(path) as temporary:
            temporary.write_text(CONFIG_TEXT)


def check_at_start(record):
    """A filter of Snakemake's messages, which passes all: what remains to be done when the jobs of a run are known.

    While this file is parsed, a run does not differ from `--summary`, `--lint` and a dry run, which change nothing.
    """
    starts = getattr(record, "event", None) == LogEvent.RUN_INFO
    if starts or record.msg == NOTHING_TO_BE_DONE_MSG:
        warn_of_unnoticed_changes()
        # A workflow that imports this one does not run its `onstart`.
        if IS_MODULE and not workflow.dryrun:
            refresh_config()
    return True


def warn_of_unnoticed_changes():
    """Warn of a changed dataset whose catalogue no job makes again, since Snakemake has no record of the one that did."""
    path = Path(CATALOGUE).with_name("state")
    jobs = {job.rule.name for job in workflow.dag.needrun_jobs(exclude_finished=False)}
    if (
        CONFIG.is_demo
        or any(name.endswith("catalogue") for name in jobs)
        or not path.is_file()
        or path.read_text().strip() == STATE
    ):
        return
    snakemake_logger.warning(
        f"WARNING: dataset.root: {ROOT} has changed since {CATALOGUE} was written, and nothing is processed again: Snakemake "
        "has no record of the jobs that made these results (copied without .snakemake, or --touch). "
        "`--forcerun catalogue preprocess_shard` examines every shape; all packs and what depends on them follow."
    )


def restore_config():
    """Write the configuration that the results of an earlier run lack.

    Written by its rule instead, it would be a missing input, for which Snakemake runs all jobs again (also if `ancient`).
    """
    from occnet_lib.storage.atomic import write_text

    if Path(CATALOGUE).exists() and not Path(CONFIG_FILE).exists():
        try:
            write_text(CONFIG_FILE, CONFIG_TEXT)
        except OccnetError as error:
            raise WorkflowError(str(error)) from None


if workflow.is_main_process:
    restore_config()
    snakemake_logger.addFilter(check_at_start)


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


def dataset_state():
    """The state of the dataset: which shapes it has, and names, sizes and times of the files of each.

    The processes that a run starts on other machines do not need it: the job of the catalogue is local.
    """
    from occnet_lib.interop.conversion import shapes_of
    from occnet_lib.storage.dataset.state import dataset_state, is_available

    if CONFIG.is_demo or not workflow.is_main_process:
        return "demo"  # made by the workflow itself; `:q` would leave out an empty argument
    if not is_available(ROOT):
        return state_without_dataset()
    library = logging.getLogger("occnet_lib")
    library.setLevel(logging.ERROR)  # the job of the catalogue logs the warnings
    try:
        return dataset_state(CONFIG, shapes_of(CONFIG, ROOT))
    except OccnetError as error:
        raise WorkflowError(str(error)) from None
    finally:
        library.setLevel(logging.NOTSET)


def state_without_dataset():
    """The state of an earlier run: finished results stay as they are while the dataset is not available."""
    from occnet_lib.storage.dataset.state import last_state

    state = last_state(CONFIG)
    if state is None:
        raise WorkflowError(
            f"dataset.root: {ROOT} is not a folder with meshes (give yours: --config dataset=path/to/meshes)"
        )
    snakemake_logger.warning(
        f"WARNING: dataset.root: {ROOT} is not available (an unmounted disk?). Finished results are used as they are: "
        f"the shapes are those of {CATALOGUE}, and no change of the dataset is detected. A job that needs raw meshes stops."
    )
    return state


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
    from occnet_lib.storage.dataset.sources import read_versions

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
