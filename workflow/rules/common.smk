# Functions only: what the rules ask about the configuration, the catalogue and the files that are there.
import logging
import os
import shlex
import sys
from functools import cache
from pathlib import Path

PROJECT = str(Path(workflow.basedir).parent)
sys.path.insert(0, PROJECT)

from snakemake.exceptions import WorkflowError

from occnet_lib.config import Config, check, digest
from occnet_lib.errors import OccnetError
from occnet_lib.progress import calm

calm(few=5)  # of each rule's jobs in a dry run; `begin` has another idea of it

# `--config shape=…` names the shape that `rerun` treats again: a wish of this call, no setting of the run.
SHAPE = str(config.pop("shape", ""))
try:
    CONFIG = check(config)
except OccnetError as error:
    raise WorkflowError(str(error)) from None

RESULTS = CONFIG.results.rstrip("/")
CONFIG_FILE = f"{RESULTS}/config.json"
ROOT = CONFIG.dataset_root
MODELS = list(CONFIG.models)
KEEP_SHAPES = CONFIG.preprocess.keep_shapes
BASELINES = CONFIG.baseline_names


wildcard_constraints:
    category="[^/]+",
    id="[^/]+",
    shard="(train|val|test)-[0-9]+",
    model="[A-Za-z0-9_-]+",
    baseline="[a-z_]+(-[A-Za-z0-9_-]+)?",


# Not in the command itself: another path of the same interpreter is no reason to do anything again.
os.environ["OCCNET_PYTHON"] = (
    "python" if workflow.deployment_settings.deployment_method else sys.executable
)
# Jobs run in the working directory (-d), which need not be where the package is.
if PROJECT not in (paths := os.environ.get("PYTHONPATH", "").split(os.pathsep)):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [PROJECT, *paths]))


os.environ.setdefault("OCCNET_DATASET_STATE", "")


envvars:
    "OCCNET_DATASET_STATE",
    "OCCNET_PYTHON",
    "PYTHONPATH",


def occnet(job):
    """The shell command of one job; everything after it is the rule's own."""
    return f'"$OCCNET_PYTHON" -m occnet_lib job {job} --config {shlex.quote(CONFIG_FILE)} --log {{log:q}}'


def begin():
    """Take the results folder, tidy it, lay down the resolved configuration that all jobs read, show progress."""
    from occnet_lib.progress import show
    from occnet_lib.storage.atomic import replacing, sweep
    from occnet_lib.storage.locks import run_lock

    global RUN_LOCK  # held until this process ends
    try:
        RUN_LOCK = run_lock(RESULTS)
    except OccnetError as error:
        raise WorkflowError(str(error)) from None
    sweep(
        RESULTS
    )  # of what a killed run left; one that is still at work keeps its files

    text = CONFIG.model_dump_json(indent=2)
    path = Path(CONFIG_FILE)
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text)
    show(RESULTS)


def versions(*stages):
    """The versions of stages: a stage whose results mean something else now is redone."""
    from occnet_lib.versions import VERSIONS

    return {stage: VERSIONS[stage] for stage in stages}


def growing(megabytes):
    """Memory that doubles with each attempt."""
    return lambda wildcards, attempt: megabytes * 2 ** (attempt - 1)


def dataset_state():
    """The state of the dataset: which shapes it has, and names, sizes and times of the files of each.

    Looked at once a run, by its main process: those that it starts on other machines get it in their environment.
    """
    from occnet_lib.interop.conversion import shapes_of
    from occnet_lib.storage.dataset.state import dataset_state

    if CONFIG.is_demo:
        return "demo"  # made by the workflow itself; `:q` would leave out an empty argument
    if workflow.is_main_process or not os.environ["OCCNET_DATASET_STATE"]:
        if not Path(ROOT).is_dir():
            raise WorkflowError(
                f"dataset.root: {ROOT} is not a folder (give yours: --config dataset=path/to/meshes)"
            )
        library = logging.getLogger("occnet_lib")
        library.setLevel(logging.ERROR)  # the catalogue's job says what is to be said
        try:
            os.environ["OCCNET_DATASET_STATE"] = dataset_state(CONFIG, shapes_of(CONFIG, ROOT))
        except OccnetError as error:
            raise WorkflowError(str(error)) from None
        finally:
            library.setLevel(logging.NOTSET)
    return os.environ["OCCNET_DATASET_STATE"]


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


def foreign_data():
    """Whether the dataset holds points and pictures already (docs/interop.md), so that there is nothing to preprocess."""
    from occnet_lib.interop.conversion import foreign_layout

    return not CONFIG.is_demo and foreign_layout(ROOT) is not None


IMPORTED = foreign_data()


def shape_file(key):
    return f"{RESULTS}/preprocess/shapes/{key.category}/{key.id}.h5"


def changed_shapes(wildcards):
    """What tells that shape files were lost, or made anew one by one, since their shard was finished.

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


def members(wildcards):
    """A short name for who is in a shard, where each comes from, and which version of its files is there.

    The files themselves are no inputs: one that is missing is its shape's failure, not the shard's, and one that is
    newer need not have another content.
    """
    keys = catalogue()[wildcards.shard]
    path = Path(f"{RESULTS}/catalogue/sources.csv")
    versions = versions_at(path, path.stat().st_mtime_ns) if path.exists() else {}
    return digest([(key.name, key.path, versions.get(key.name, "")) for key in keys])


def over(pattern, *splits, **values):
    """An input function: `pattern` over the shards of splits."""
    return lambda wildcards: expand(
        pattern, shard=shards(*splits), **values, **dict(wildcards)
    )


def names(*splits):
    """A parameter: the shards of splits. One more or one less makes their rule run again, which new inputs do not."""
    return lambda wildcards: shards(*splits)


DEVICES = CONFIG.train.hardware.devices * CONFIG.train.hardware.nodes


def several_nodes():
    """What Slurm is told of a training on several nodes, which has a task a device."""
    if CONFIG.train.hardware.nodes == 1:
        return {}
    return {
        "nodes": CONFIG.train.hardware.nodes,
        "mpi": "srun",
        "tasks": DEVICES,
        "tasks_per_gpu": 0,
    }


def launched():
    """What starts the tasks of such a training."""
    if CONFIG.train.hardware.nodes == 1:
        return ""
    tasks = f"--ntasks={DEVICES} --ntasks-per-node={CONFIG.train.hardware.devices}"
    return f"srun --kill-on-bad-exit=1 {tasks} "  # where one has failed, the others would wait for it


def looked_up(wildcards):
    """The indices that a baseline looks up."""
    kind, _, model = wildcards.baseline.partition("-")
    files = {
        "nearest_image": ["images"],
        "retrieval": [f"codes_{model}"],
        "clustering": [f"codes_{model}", "clusters"],
    }
    return [f"{RESULTS}/index/{name}.h5" for name in files.get(kind, [])]
