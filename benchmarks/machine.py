"""Which machine and commit a figure belongs to."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from simulation.run_folder import git_commit


def describe_machine() -> str:
    """One line: date, processor, cores, Python, commit."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    today = datetime.now(UTC).date()
    python = platform.python_version()
    return f"{today}, {cpu}, {os.cpu_count()} cores, Python {python}, commit {git_commit()}"
