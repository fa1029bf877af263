"""Each study's reading says what its numbers say: other numbers, other sentences."""

import numpy as np
import pytest

from simulation.experiments.studies.study_cells import CellHeader, MeasuredCell, Slice
from simulation.experiments.studies.study_kinds import kind_of
from simulation.experiments.studies.study_plan import load_study, resolve
from simulation.experiments.studies.study_summary import StudySummary, summarise

NUM_USERS = 200
FIGURES = {"ask, %": 10.0, "mean ms": 2.0, "events that leave": 7.0, "alpha": 0.5}


def summary_of(name: str, means: dict[str, float], parts: tuple[str, ...]) -> StudySummary:
    """A study whose arms have these means: the same noise of users for all."""
    plan = load_study(name, ["replicates=200"], seeds="0,1")
    rows = resolve(plan, kind_of(plan.kind).options)
    users, noise = np.arange(NUM_USERS), np.random.default_rng(0).normal(0, 0.01, NUM_USERS)
    cells = []
    for row in rows:
        for seed in plan.seeds:
            values = dict.fromkeys(plan.shown, means[row.variant.arm] + noise)
            slices = tuple(Slice(part, "full", users, values) for part in parts)
            header = CellHeader(
                study=name,
                variant=row.variant.name,
                seed=seed,
                key="k",
                settings_sha256="s",
                data_sha256="d",
                bundle_sha256="b",
                commit="c",
                seconds=0.0,
                figures=FIGURES,
            )
            cells.append(MeasuredCell(header, slices))
    return summarise(plan, [row.variant for row in rows], cells)


def reading(name: str, means: dict[str, float], *parts: str) -> str:
    summary = summary_of(name, means, parts or ("all",))
    return " ".join(kind_of(name).read(summary))


STEPS = [
    "teacher",
    "student",
    "pruned",
    "few-bits",
    "installed",
    "federated",
    "federated-days",
    "private",
]


def test_quality_names_the_dearest_step_and_what_is_kept():
    means = dict(zip(STEPS, (0.12, 0.12, 0.11, 0.11, 0.08, 0.09, 0.08, 0.06), strict=True))
    said = reading("quality", means)
    assert "dearest step is “installed on the phone, no personal vectors”: −3.00 points" in said
    assert "“pruned, fp32” (−1.00 points" in said
    assert "gain beyond the interval: “federated" in said
    assert "“fp32 student, all words”" in said.split("Not told apart")[1]
    assert "federated, from the opted-in few: 75.0 % [" in said


def test_quality_without_a_loss_says_so():
    said = reading("quality", dict.fromkeys(STEPS, 0.1))
    assert "No step loses anything" in said and "dearest" not in said
    assert "federated, from the opted-in few: 100.0 %" in said


TEXTS = {
    "none": 0.02,
    "ids": 0.03,
    "tf-idf": 0.05,
    "static": 0.05,
    "ei-bert": 0.06,
    "teacher": 0.08,
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ("at least twice a guess (3.0 times)", "is above TF-IDF (+1.00 points")),
        ({"tf-idf": 0.07}, ("at least twice", "is not above TF-IDF at its interval (−1.00 points")),
        ({"none": 0.04}, ("less than twice a guess (1.5 times)", "is above TF-IDF")),
        ({}, ("On warm items text is worth +3.00 points",)),
        ({"ids": 0.07}, ("On warm items text takes from ids alone −1.00 points",)),
        ({"ids": 0.06}, ("no worth of text over ids alone can be told",)),
    ],
)
def test_text_checks_its_claims_on_warm_and_on_cold_items(changes, told):
    said = reading("text", TEXTS | changes, "warm", "cold", "cold among all")
    for sentence in told:
        assert sentence in said
    assert "Text teacher is better than EI-BERT" in said


ARMS = [
    *("phone", "server"),
    *(f"{rule}-{share}" for rule in ("random", "margin") for share in (10, 30, 60)),
    *("entropy-10", "entropy-30"),
]


@pytest.mark.parametrize(
    ("margin", "told"),
    [
        (0.11, "10 % ask, by margin chooses better than chance (+1.00 points"),
        (0.09, "10 % ask, by margin chooses worse than chance (−1.00 points"),
        (0.10, "10 % ask, by margin cannot be told apart from chance"),
    ],
)
def test_cooperation_holds_confidence_against_chance(margin, told):
    said = reading("cooperation", dict.fromkeys(ARMS, 0.1) | {"margin-10": margin})
    assert told in said
    assert "ms (mean, modelled)" in said


@pytest.mark.parametrize(
    ("steered", "told"),
    [
        (0.12, "The phones do teach the teacher."),
        (0.08, "Steered by the phones, the teacher is worse."),
        (0.10, "The phones do not teach the teacher, as far as these users can tell."),
    ],
)
def test_logits_answers_its_question(steered, told):
    means = {"none": 0.1, "validation": steered, "kl": steered, "student": 0.05}
    said = reading("logits", means)
    assert told in said
    assert "Federated student alone, as the cloud has it is worse than Untouched teacher" in said


def test_federation_groups_what_is_better_and_worse():
    summary = summary_of("federation", {"base": 0.1}, ("all",))
    said = " ".join(kind_of("federation").read(summary))
    assert said.startswith("Not told apart: ") and "Better" not in said
    assert "200 users and 2 seeds" in said
