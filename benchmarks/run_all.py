"""Run every benchmark that needs no more than a finished quickstart; `make bench`.

`benchmarks.seeds` takes the time of three quickstarts and is run by itself.
"""

import subprocess
import sys

SCRIPTS = ("anchors", "local_training", "serving", "engines")


def main() -> None:
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}"], check=True)


if __name__ == "__main__":
    main()
