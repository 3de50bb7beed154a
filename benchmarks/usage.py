"""The CPU time and memory that processes and their children have used."""

from contextlib import suppress

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and everything below it so far, its ended children included."""
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += sum(getattr(times, name, 0.0) for name in ("user", "system", "children_user", "children_system"))
    return total


def memory_mib(pid: int) -> float:
    """Memory of the process and everything below it: shared pages by shares (PSS) where the system has it, else USS."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
    return total / 2**20


def open_files(pid: int) -> int:
    """Files, sockets and pipes that the process and everything below it hold open."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.num_fds()
    return total


def workers(pid: int) -> list[int]:
    """The children of a server's main process."""
    return [child.pid for child in psutil.Process(pid).children()]


def load() -> str:
    """How busy the machine has been, for the reader of the figures."""
    return f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} processors"


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
