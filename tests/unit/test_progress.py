"""Lines of progress from tallies; what Snakemake may say on the terminal."""

from __future__ import annotations

import io
import logging
import os
import time
from enum import Enum

import pytest

from occnet_lib.progress import Progress, tally, tally_path
from occnet_lib.storage.dataset.catalogue import write_table
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey
from snakemake_logger_plugin_occnet import JobMessageLimit
from tests.support.waiting import until


@pytest.fixture
def results(tmp_path):
    keys = [ShapeKey("chair", f"c{i}", f"chair/c{i}.obj", "train", f"train-00{i // 4}") for i in range(8)]
    write_table(tmp_path / "catalogue/shapes.csv", keys)
    return tmp_path


def process(results, shard, *statuses):
    listener = tally(tally_path(results, shard))
    for done, status in enumerate(statuses, 1):
        listener(done, 4, {"status": status})


def test_counts_shapes_of_running_and_of_finished_shards(results):
    progress = Progress(results)
    assert progress.line(0.0) == "preprocess: 0 of 8 shapes (0%), no rate yet, 0 failed"
    process(results, "train-000", "ok", "failed")
    process(results, "train-001", "warn")
    assert progress.line(6.0) == "preprocess: 3 of 8 shapes (38%), 0.5 a second, 10 s left, 1 failed"
    process(results, "train-000", "ok", "failed", "ok", "ok")
    table = results / "preprocess/shards/train-000.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    assert progress.line(50.0) == "preprocess: 5 of 8 shapes (62%), 0.1 a second, 30 s left, 1 failed"


def test_finished_shards_are_not_work(results):
    table = results / "preprocess/shards/train-000.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    process(results, "train-000", "ok", "ok", "ok", "ok")
    assert Progress(results).line(0.0).startswith("preprocess: 0 of 4 shapes")
    (table.parent / "train-001.csv").touch()
    assert Progress(results).line(0.0) == ""


def test_the_end_is_printed_once(results):
    progress = Progress(results)
    tables = results / "preprocess/shards"
    tables.mkdir(parents=True)
    for shard in ("train-000", "train-001"):
        (tables / f"{shard}.csv").touch()
    progress.before.clear()
    assert progress.line(0.0).startswith("preprocess: 8 of 8 shapes")
    assert progress.line(10.0) == ""
    (tables / "train-001.csv").unlink()
    assert progress.line(20.0).startswith("preprocess: 4 of 8 shapes")


def test_running_trainings_are_shown_with_their_steps(results):
    progress = Progress(results)
    assert progress.training() == ""
    (results / "config.json").write_text('{"train": {"steps": 700}}')
    for model, step in (("a", 300), ("b", 350), ("done", 700)):
        write_rows(results / "train" / model / "metrics.csv", [{"step": 50}, {"step": step}])
    assert progress.training() == "train: a step 300 of 700, b step 350 of 700"
    os.utime(results / "train/a/metrics.csv", (0, 0))  # of a run before
    assert progress.training() == "train: b step 350 of 700"


def test_no_line_without_a_catalogue(tmp_path):
    assert Progress(tmp_path).line(0.0) == ""


def test_a_shard_processed_again_does_not_make_a_negative_rate(results):
    progress = Progress(results)
    process(results, "train-000", "ok", "ok")
    progress.line(0.0)
    process(results, "train-000")
    assert "0 of 8 shapes (0%), no rate yet" in progress.line(5.0)


def test_lines_come_by_themselves_and_not_twice(results):
    process(results, "train-000", "ok", "ok")
    out = io.StringIO()
    Progress(results, out, seconds=0.01).start()
    until(lambda: "shapes" in out.getvalue(), "a line of progress")
    time.sleep(0.2)
    lines = out.getvalue().splitlines()
    assert all(line.startswith("preprocess: 2 of 8 shapes") for line in lines)
    assert len(lines) == len(set(lines))


class Event(Enum):
    JOB_INFO = "job_info"
    JOB_ERROR = "job_error"
    PROGRESS = "progress"


@pytest.mark.parametrize(
    ("text", "more", "shown"),
    [
        ("Job 3", {"event": Event.JOB_INFO, "rule_name": "preprocess_shard"}, False),
        ("Job 3", {"event": Event.JOB_INFO, "rule_name": "train_model"}, True),
        ("Error in rule preprocess_shard", {"event": Event.JOB_ERROR}, True),
        ("1 of 3 steps", {"event": Event.PROGRESS}, False),
        ("Select jobs to execute...", {}, False),
        ("Exiting because a job execution failed.", {}, True),
        (None, {}, True),
    ],
)
def test_the_terminal_shows_errors_and_no_chatter(text, more, shown):
    record = logging.makeLogRecord({"msg": text, "levelno": logging.INFO, **more})
    assert JobMessageLimit().filter(record) is shown


def test_a_dry_run_shows_the_first_jobs_of_each_rule():
    limit = JobMessageLimit(few=2)
    rules = ["preprocess_shard", "train_model", "preprocess_shard", "preprocess_shard", "train_model"]
    shown = []
    for rule in rules:
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, "", None, None)
        record.event, record.rule_name = Event("job_info"), rule
        shown.append(limit.filter(record))
    assert shown == [True, True, True, False, True]


def test_snakemake_still_has_these_events():
    from snakemake_interface_logger_plugins.common import LogEvent

    import snakemake_logger_plugin_occnet as plugin

    assert {"job_info", *plugin._JOB_EVENTS} <= {event.value for event in LogEvent}


def test_the_plugin_prints_progress_of_the_results_folder_of_a_job(results, capsys, monkeypatch):
    import logging.handlers
    from types import SimpleNamespace

    import snakemake_logger_plugin_occnet as plugin

    started = []
    monkeypatch.setattr(
        "occnet_lib.progress.Progress", lambda *args: started.append(args) or SimpleNamespace(start=list)
    )
    settings = SimpleNamespace(nocolor=True, dryrun=False, stdout=False)
    handler = plugin.LogHandler(settings, None)
    for rule in ("occnet_preprocess_shard", "preprocess_shard", "catalogue"):
        extra = {
            "event": Event("job_info"),
            "rule_name": rule,
            "output": [str(results / "preprocess/shards/a.csv")],
        }
        handler.emit(
            logging.makeLogRecord({"msg": "", "rule_msg": f"of {rule}", "jobid": 1, "reason": "", **extra})
        )
    handler.emit(logging.makeLogRecord({"msg": "an error", "levelno": logging.ERROR}))
    assert [folder for folder, _ in started] == [results]
    assert "an error" in capsys.readouterr().err
