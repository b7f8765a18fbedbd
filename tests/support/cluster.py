"""A real Slurm on this host without systemd: munge, a controller, two CPU nodes and two with fake GPUs.

Needs root and Debian's slurm-wlm and munge. Only processes started here are ended, by their pid files.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sinfo", "sbatch", "munged")
NODES = {"n1": 17001, "n2": 17002, "g1": 17003, "g2": 17004}
GPUS = {"g1": 2, "g2": 1}
MEMORY = 64_000  # MB a node: a claim (config_overrides), large enough for retries that ask for more
ETC = Path("/etc/slurm")  # where a job step looks when the environment does not say


def why_not() -> str:
    """What this host lacks for a cluster; empty when nothing."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "starting slurmd takes root"


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Run the cluster in `folder`; gives the folder of its logs."""
    for name in ("state", "log", "run", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    _start_munge()
    _write_configuration(folder)
    try:
        subprocess.run(["slurmctld", "-c"], check=True)
        for node in NODES:
            subprocess.run(["slurmd", "-N", node, "-c"], check=True)
        _wait_for_idle_nodes(folder)
        yield folder / "log"
    finally:
        _end_jobs()
        _stop(folder)


def _start_munge() -> None:
    if (
        subprocess.run(["munge", "-n"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
        == 0
    ):
        return
    key = Path("/etc/munge/munge.key")
    run = Path("/run/munge")
    run.mkdir(exist_ok=True)
    if not key.exists() or not key.stat().st_size:
        subprocess.run(["mungekey", "-c", "-f"], check=True)
    for path in (run, key.parent, key, Path("/var/lib/munge"), Path("/var/log/munge")):
        shutil.chown(path, "munge", "munge")
    key.chmod(0o400)
    run.chmod(0o755)
    subprocess.run(["runuser", "-u", "munge", "--", shutil.which("munged")], check=True)


def _write_configuration(folder: Path) -> None:
    host = socket.gethostname().split(".")[0]
    for gpu in range(max(GPUS.values())):
        (folder / f"gpu{gpu}").touch()
    settings = {
        "ClusterName": "ci",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "CryptoType": "crypto/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": folder / "run/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/run/slurmd-%n.pid",
        "SlurmctldLogFile": folder / "log/slurmctld.log",
        "SlurmdLogFile": f"{folder}/log/slurmd-%n.log",
        "SlurmctldPort": 16817,
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SlurmdParameters": "config_overrides",
        "JobAcctGatherType": "jobacct_gather/linux",
        "AccountingStorageType": "accounting_storage/none",
        "ReturnToService": 2,
        "SlurmctldTimeout": 30,
        "SlurmdTimeout": 30,
        "KillWait": 3,
        "MinJobAge": 300,
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "sched_interval=1,bf_interval=1,sched_min_interval=0",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "GresTypes": "gpu",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "AuthInfo": "cred_expire=5",  # a job that queues again waits until its old credential has expired
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    common = f"NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory={MEMORY} State=UNKNOWN"
    for node, port in NODES.items():
        gres = f" Gres=gpu:{GPUS[node]}" if node in GPUS else ""
        lines.append(f"NodeName={node} Port={port} {common}{gres}")
    lines.append("PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP")
    for partition, priority in (("gpu", 1), ("urgent", 2)):
        lines.append(
            f"PartitionName={partition} Nodes=g1,g2 MaxTime=INFINITE State=UP PriorityTier={priority}"
        )
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    files = [f"NodeName={node} Name=gpu File={folder}/gpu[0-{count - 1}]" for node, count in GPUS.items()]
    (folder / "gres.conf").write_text("\n".join(files) + "\n")
    constraints = "".join(f"Constrain{what}=no\n" for what in ("Cores", "RAMSpace", "Devices"))
    (folder / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n{constraints}")
    ETC.mkdir(exist_ok=True)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        (ETC / name).unlink(missing_ok=True)
        (ETC / name).symlink_to(folder / name)


def _wait_for_idle_nodes(folder: Path, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = _output("sinfo", "-h", "-o", "%T").split()
        if states and set(states) == {"idle"}:
            return
        time.sleep(0.2)
    logs = "\n".join(path.read_text()[-1000:] for path in sorted((folder / "log").glob("*.log")))
    raise RuntimeError(f"the cluster did not come up:\n{logs}")


def _end_jobs(seconds: float = 20.0) -> None:
    """Of what a job left, a later cluster on the same ports would hear."""
    end = time.monotonic() + seconds
    subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
    while time.monotonic() < end and _output("squeue", "--noheader"):
        time.sleep(0.2)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _stop(folder: Path) -> None:
    pids = [int(path.read_text()) for path in (folder / "run").glob("*.pid") if path.read_text().strip()]
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    end = time.monotonic() + 10
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.1)
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        if (ETC / name).is_symlink():
            (ETC / name).unlink()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
