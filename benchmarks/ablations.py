"""Claim: what each stage of the method is worth, on CLINC150 and rt-snippets, over three seeds.

    python -m benchmarks.ablations --clinc150 PATH/data_full.json --groups method head
    python -m benchmarks.ablations --clinc150 PATH/data_full.json --split test
    python -m benchmarks.ablations --table                  (what is there; makes nothing)
    python -m benchmarks.ablations --sensitivity models/pretrained/ei-bert-en

The rows stand in simulation/presets/language/english.toml. Words and passes are compared after a
short pre-training each, the same for all of them; as a whole one for each would be too dear, their
figures belong side by side and not beside those of the pretrained encoder. `--sensitivity` prints
what rounding each module alone does to the general vectors, without any task.
"""

from pathlib import Path

from benchmarks.language_understanding import options, prepare
from benchmarks.machine import describe_machine
from models.compression.quantization.sensitivity import sensitivity
from models.compression.tasks.task_head import split_texts
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.experiments.general_students import GeneralStudent
from simulation.experiments.held_back_texts import held_back_prose
from simulation.experiments.language_cells import cells_of
from simulation.experiments.language_tables import ablation_table, left_out_note, markdown
from simulation.experiments.language_tasks import current_results, fill_cells

SETS = ["clinc150", "rt-snippets"]
SEEDS = [0, 1, 2]
SENSITIVITY_TEXTS = 400


def main() -> None:
    parser = options()
    parser.add_argument("--groups", nargs="+", help="of ablations; all when left out")
    parser.add_argument("--sensitivity", type=Path, metavar="BUNDLE")
    given = parser.parse_args()
    if given.sensitivity:
        print_sensitivity(given.sensitivity)
        return
    bench, sets = prepare(given, SETS)
    rows = [
        row for row in bench.settings.ablations if not given.groups or row.group in given.groups
    ]
    if not given.table:
        trainings = dict.fromkeys((row.start, row.variant) for row in rows)
        cells = [
            cell
            for name in sets
            for start, variant in trainings
            for cell in cells_of([name], [start], given.seeds or SEEDS, given.split, [variant])
        ]
        with Voice(machine=False).progress() as progress:
            bench.progress = progress
            fill_cells(bench, cells, given.results)
    print(describe_machine())
    print(f"{given.split} split, scores in %, mean ± standard deviation over seeds\n")
    settings = bench.settings.model_copy(update={"ablations": tuple(rows)})
    shown, left_out = current_results(bench, given.results, given.split, sets)
    print(ablation_table(shown, settings, sets))
    print(left_out_note(left_out))


def print_sensitivity(folder: Path) -> None:
    """Each weight alone in 8 and in 4 bits, against the same student in fp32."""
    general = GeneralStudent.of_bundle(folder)
    texts = held_back_prose(cache_folder(), SENSITIVITY_TEXTS)
    ids = split_texts(general.tokenizer, texts, general.student.settings.max_tokens)
    with Voice(machine=False).progress() as progress:
        found = sensitivity(general.student, ids, (8, 4), progress)
    rows = [["weight", "bits", "cosine to fp32", "neighbours in common, %", "bytes saved"]]
    for row in found:
        figures = [f"{row.cosine:.4f}", f"{100 * row.neighbours:.1f}", f"{row.bytes_saved:,}"]
        rows.append([row.weight, str(row.bits), *figures])
    print(describe_machine())
    print(f"{len(texts)} held-back texts, one a request\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
