"""Claim: what each stage of the method is worth, on CLINC150 and rt-snippets, over three seeds.

    python -m benchmarks.ablations --clinc150 PATH/data_full.json --groups method head
    python -m benchmarks.ablations --clinc150 PATH/data_full.json --split test
    python -m benchmarks.ablations --table                  (what is there; makes nothing)
    python -m benchmarks.ablations --sensitivity models/pretrained/ei-bert-en

The rows stand in simulation/presets/language/english.toml. Words and passes are compared after a
short pre-training each, the same for all of them; as a whole one for each would be too dear, their
figures belong side by side and not beside those of the pretrained encoder. The seeds are those of
learning a task; each general student was trained once, so the spread does not tell what another
pre-training, or another draw of the random words, would give. `--sensitivity` prints
what rounding each module alone does to the general vectors, without any task, and the plan that
this table chooses for the bytes that the budget leaves, beside the shipped one. The student is read
back out of the bundle: its weights lie on the shipped levels already, so rounding them to the
shipped bits once more costs too little, and the shipped plan looks better than it is.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.language_understanding import options, prepare
from benchmarks.machine import describe_machine
from models.bundle import ENCODER_BUDGET_BYTES, GRAPH, EncoderBundle
from models.compression.export.encoder_graph import export_graph
from models.compression.quantization.few_bits import FULL, BitPlan
from models.compression.quantization.sensitivity import SensitivityRow, choose_plan, sensitivity
from models.compression.student import Student
from models.errors import BudgetError
from models.wordpiece import split_texts
from simulation.commands.console import Voice
from simulation.data.cache import cache_folder
from simulation.experiments.encoders.general_students import GeneralStudent
from simulation.experiments.encoders.held_back_texts import held_back_prose
from simulation.experiments.language.cells import cells_of
from simulation.experiments.language.filling import current_results, fill_cells
from simulation.experiments.language.tables import ablation_table, left_out_note, markdown

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
    """Each weight alone in few bits against the same student in fp32, and the plan they choose."""
    bundle, general = EncoderBundle.open(folder), GeneralStudent.of_bundle(folder)
    shipped: BitPlan = bundle.manifest["origin"]["bits"]
    room = ENCODER_BUDGET_BYTES - (bundle.num_bytes - bundle.manifest["files"][GRAPH]["bytes"])
    texts = held_back_prose(cache_folder(), SENSITIVITY_TEXTS)
    ids = split_texts(general.tokenizer, texts, general.student.settings.max_tokens)
    with Voice(machine=False).progress() as progress:
        found = sensitivity(general.student, ids, bits_tried(shipped), progress)
    rows = [["weight", "bits", "cosine to fp32", "neighbours in common, %", "bytes saved"]]
    for row in found:
        figures = [f"{row.cosine:.4f}", f"{100 * row.neighbours:.1f}", f"{row.bytes_saved:,}"]
        rows.append([row.weight, str(row.bits), *figures])
    print(describe_machine())
    print(f"{len(texts)} held-back texts, one a request\n")
    print(markdown(rows), "\n")
    print(f"the budget leaves {room:,} bytes for the graph; the loss is the sum of 1 - cosine\n")
    print(plans_table(general.student, found, shipped, room))


def bits_tried(shipped: BitPlan) -> tuple[int, ...]:
    """8, 4 and those of the shipped plan, so that its own loss can be told.

    >>> bits_tried({"words": 4, "projector": 6})
    (8, 6, 4)
    """
    return tuple(sorted({8, 4, *shipped.values()} - {FULL}, reverse=True))


def plans_table(
    student: Student, table: Sequence[SensitivityRow], shipped: BitPlan, room: int
) -> str:
    """The shipped plan and the one of the least expected loss whose graph has `room` bytes."""
    plans = {"as shipped": shipped}
    try:
        plans["chosen by the table"] = choose_plan(student, table, room)
    except BudgetError as error:
        print(error)
    losses = {(row.weight, row.bits): 1 - row.cosine for row in table}
    rows = [["", *plans], ["bytes of the graph"], ["expected loss"]]
    rows += [[name] for name in shipped]
    for plan in plans.values():
        # A weight left in fp32 loses nothing.
        loss = sum(losses[item] for item in plan.items() if item[1] != FULL)
        column = [f"{export_graph(student, plan).ByteSize():,}", f"{loss:.4f}"]
        column += [str(plan[name]) for name in shipped]
        for row, cell in zip(rows[1:], column, strict=True):
            row.append(cell)
    told = ", ".join(f'"{name}" = {bits}' for name, bits in plan.items())
    option = f"--set 'compression.quantization.bits={{{told}}}'"
    return f"{markdown(rows)}\n\nCompress with the last plan: {option}"


if __name__ == "__main__":
    main()
