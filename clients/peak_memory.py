"""How much memory this process has held at its highest, on Linux and macOS."""

import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Bytes of resident memory at its peak; pages of mapped files that were looked at count."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux: rusage would hand down the peak of the process that started this one.
        high_water = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(high_water.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
