"""Run every benchmark that needs no more than a finished quickstart; `make bench`.

Left out, as they need a file of the user's, or an hour and more: `seeds` (three quickstarts),
`losses`, `recommendation`, `device_updates`, `fleet`, `common_job`, `language_understanding`,
`ablations` by trainings, `general_students`, `elastic`; and what only draws their results
(`frontier`, `readme_picture`).
"""

import subprocess
import sys

ENCODER = "models/pretrained/ei-bert-en"

SCRIPTS: tuple[tuple[str, ...], ...] = (
    ("anchors",),
    ("local_training",),
    ("serving",),
    ("engines",),
    ("encoder_graph",),
    ("encoder_speed", ENCODER),
    ("sentence_vectors", ENCODER),
    ("ablations", "--sensitivity", ENCODER),
)
"""Names and arguments, in this order."""


def main() -> None:
    for script, *words in SCRIPTS:
        print(f"== {' '.join((script, *words))}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *words], check=True)


if __name__ == "__main__":
    main()
