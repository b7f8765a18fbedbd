# Functions only: what is checked and written when a run starts, and the state of its dataset.
import logging
from collections import Counter
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger as snakemake_logger
from snakemake_interface_logger_plugins.common import LogEvent

IS_MODULE = not workflow.modifier.is_main_snakefile()  # as long as this file is parsed
READ_RAW_MESHES = ("catalogue", "preprocess_shard", "shape", "rerun", "import_shard")


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


def check_networks_exist():
    """Refuse a `start` or `silhouette_cameras` of a model that is not trained yet and that names nothing there is.

    Snakemake leaves such a model out without a word where the report of an earlier run exists. A workflow that imports this
    one may make the file by another rule.
    """
    for model in MODELS:
        for path in CONFIG.networks_used_by(model):
            if path in CONFIG.checkpoints or Path(path).exists():
                continue
            text = f"`models.{model}` needs {path}, which is neither a model of this configuration nor a file"
            if Path(f"{RESULTS}/train/{model}/best.ckpt").exists():
                snakemake_logger.warning(
                    f"WARNING: {text}; {model} stays as it was trained before."
                )
            else:
                raise WorkflowError(f"{text}; models are {', '.join(MODELS)}")


def check_networks_to_start_from():
    """Refuse a wrong `start` or `silhouette_cameras` of a model before anything runs, where torch is installed."""
    from importlib.util import find_spec

    if find_spec("torch") and any(map(CONFIG.networks_used_by, MODELS)):
        from occnet_lib.training.start import check_starts

        try:
            check_starts(CONFIG)
        except OccnetError as error:
            raise WorkflowError(str(error)) from None


def check_raw_meshes():
    """Refuse a run that needs raw meshes which are not available, before Snakemake removes what its jobs shall replace."""
    from occnet_lib.storage.dataset.state import is_available

    needed = Counter(
        job.rule.name for job in workflow.dag.needrun_jobs() if reads_raw_meshes(job)
    )
    if needed and not (CONFIG.is_demo or workflow.touch or is_available(ROOT)):
        jobs = ", ".join(f"{count} × {name}" for name, count in needed.items())
        raise WorkflowError(
            f"dataset.root: {ROOT} is not available, and this run needs its meshes ({jobs}). Mount it; what is finished "
            "is kept. `snakemake -n` gives the reasons."
        )


def reads_raw_meshes(job):
    """Whether a job of this workflow reads raw meshes; a workflow that imports this one gives rules names with a prefix."""
    is_ours = any(str(log).startswith(f"{RESULTS}/logs/") for log in job.log)
    return is_ours and job.rule.name.endswith(READ_RAW_MESHES)


def refresh_config():
    """Replace the configuration of an earlier run; rule `config` writes the file only if there is none."""
    from occnet_lib.storage.atomic import replacing

    path = Path(CONFIG_FILE)
    if path.exists() and path.read_text() != CONFIG_TEXT:
        with replacing(path) as temporary:
            temporary.write_text(CONFIG_TEXT)


def check_at_start(record):
    """A filter of Snakemake's messages, which passes all: what remains to be done when the jobs of a run are known.

    An error that it raises ends the run, before any output is removed.

    While this file is parsed, a run does not differ from `--summary`, `--lint` and a dry run, which change nothing.
    """
    starts = getattr(record, "event", None) == LogEvent.RUN_INFO
    if starts or record.msg == NOTHING_TO_BE_DONE_MSG:
        warn_of_unnoticed_changes()
        # A workflow that imports this one does not run its `onstart`.
        if IS_MODULE and not workflow.dryrun:
            if starts:
                check_networks_to_start_from()
                check_raw_meshes()
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


if workflow.is_main_process:
    if not IS_MODULE:
        check_networks_exist()
    restore_config()
    snakemake_logger.addFilter(check_at_start)
