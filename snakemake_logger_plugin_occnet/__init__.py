"""Snakemake logger plugin: a run's jobs as lines of progress (`logger: occnet` in workflow/profiles/default)."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase

# Snakemake's messages that come with every job and add nothing to the lines of progress.
_JOB_MESSAGES = (
    *("Select jobs to execute", "Execute ", "DAG of jobs will be updated", "Updating checkpoint"),
    "Cannot restore ",  # an output of train_model that did not exist before its first training failed
)
_JOB_EVENTS = ("job_finished", "progress", "group_info")
_COUNTED_RULES = ("preprocess_shard", "pack_shard")
_RULES_WITH_PROGRESS = ("preprocess_shard", "train_model")


class LogHandler(LogHandlerBase):
    """Snakemake's terminal output without messages of every job, and lines of progress in their place."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False  # Snakemake adds its own
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        from snakemake.logging import ColorizingTextHandler

        settings: Any = self.common_settings
        self.stream = sys.stdout if settings.stdout else sys.stderr
        self.terminal = ColorizingTextHandler(nocolor=settings.nocolor, stream=self.stream)
        self.limit = JobMessageLimit(5 if settings.dryrun else None)
        self.progress: set[Path] = set()  # results folders

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802
        """Give the terminal Snakemake's format."""
        self.terminal.setFormatter(fmt)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record; start the progress lines of a results folder with its first long job."""
        if self.limit.filter(record):
            self.terminal.handle(record)
        if self.limit.few is None and _is_of(record, _RULES_WITH_PROGRESS):
            self._start_progress(Path(record.output[0]).parents[2])  # type: ignore[attr-defined]

    def _start_progress(self, results: Path) -> None:
        from occnet_lib.progress import Progress

        if results not in self.progress:
            self.progress.add(results)
            Progress(results, self.stream).start()


class JobMessageLimit(logging.Filter):
    """Drops what Snakemake logs about every job; its log file keeps all of it.

    Args:
        few: number of jobs of each rule to show, for a dry run, which prints the number of all; None: all, except those
            that lines of progress count.
    """

    def __init__(self, few: int | None = None) -> None:
        super().__init__()
        self.few, self.jobs = few, Counter[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show a record."""
        event = _event(record)
        if event != "job_info":
            return event not in _JOB_EVENTS and not str(record.msg).startswith(_JOB_MESSAGES)
        self.jobs[str(getattr(record, "rule_name", ""))] += 1
        if self.few is None:
            return not _is_of(record, _COUNTED_RULES)
        return self.jobs[str(getattr(record, "rule_name", ""))] <= self.few


def _event(record: logging.LogRecord) -> str:
    return str(getattr(getattr(record, "event", None), "value", ""))


def _is_of(record: logging.LogRecord, rules: tuple[str, ...]) -> bool:
    """Whether a record announces a job of one of the rules, which have a prefix in a workflow that imports this one."""
    return _event(record) == "job_info" and str(getattr(record, "rule_name", "")).endswith(rules)
