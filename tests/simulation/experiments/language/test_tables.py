from simulation.experiments.language.settings import LanguageSettings
from simulation.experiments.language.tables import ablation_table, quality_table
from tests.simulation.experiments.language.test_cells import result
from tests.simulation.experiments.tiny_language import tiny_tree


def settings(tmp_path) -> LanguageSettings:
    tree = tiny_tree(tmp_path, tmp_path)
    tree["sets"]["rt-snippets"] = tree["sets"]["clinc150"]
    return LanguageSettings.model_validate(tree)


def teacher(name: str, score: float):
    return result(name, "teacher", scores={"fp32": score}, num_bytes={"fp32": 90_000})


def test_the_table_of_all_sets(tmp_path):
    results = [
        teacher("clinc150", 0.9),
        teacher("rt-snippets", 0.7),
        result("clinc150", seed=0, scores={"int8": 0.80}, num_bytes={"int8": 1_000}),
        result("clinc150", seed=1, scores={"int8": 0.84}, num_bytes={"int8": 1_000}),
        result("clinc150", variant="plain", scores={"int8": 0.1}, num_bytes={"int8": 5}),
        result("rt-snippets", seed=0, scores={"int8": 0.62}, num_bytes={"int8": 1_200}),
    ]
    lines = quality_table(results, settings(tmp_path), ["clinc150", "rt-snippets"]).splitlines()
    assert lines[0] == "| set | teacher | EI-BERT int8 |"
    assert lines[2] == "| clinc150 (accuracy) | 90.0 | 82.0 ± 2.8 |"
    assert lines[3] == "| rt-snippets (accuracy) | 70.0 | 62.0 |"
    assert lines[4] == "| mean | 80.0 | 72.0 |"
    assert lines[5] == "| share of the teacher | 100.0 | 90.0 |"
    assert lines[6] == "| bytes | 90,000 | 1,200 |"


def test_what_is_missing_is_a_dash_and_no_mean(tmp_path):
    results = [teacher("clinc150", 0.9), teacher("rt-snippets", 0.7), result("clinc150")]
    lines = quality_table(results, settings(tmp_path), ["clinc150", "rt-snippets"]).splitlines()
    assert lines[3] == "| rt-snippets (accuracy) | 70.0 | - |"
    assert lines[4] == "| mean | 80.0 | - |"
    assert lines[5] == "| share of the teacher | 100.0 | - |"


def test_ablations_are_a_table_per_group(tmp_path):
    results = [
        result("clinc150", variant="plain", seed=seed, scores={"int8": score})
        for seed, score in enumerate((0.5, 0.6, 0.7))
    ]
    text = ablation_table(results, settings(tmp_path), ["clinc150"])
    assert text.splitlines() == [
        "| method | clinc150 | bytes |",
        "|---|--:|--:|",
        "| plain | 60.0 ± 10.0 | 10 |",
        "| head | - | - |",
    ]
