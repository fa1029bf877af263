"""docs/metrics.md says what is there: its program runs, and every function it names exists."""

import re
from pathlib import Path

import numpy as np

from models import metrics

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_ten_lines_run_and_random_scores_look_random(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    exec(code, {})
    ndcg, auc, gini = map(float, capsys.readouterr().out.split())
    assert abs(auc - 0.5) < 0.03
    assert 0 < ndcg < 0.1
    assert 0 < gini < 0.5


def test_every_function_of_the_tables_exists():
    named = set(re.findall(r"\| `(\w+)` \|", TEXT)) - set(metrics.TIE_RULES)
    assert len(named) > 15
    assert {name for name in named if not hasattr(metrics, name)} == set()


def test_every_metric_is_documented():
    functions = {name for name in metrics.__all__ if callable(getattr(metrics, name))}
    helpers = {"RankedLists", "ImpressionValues", "FloatArray", "TieRule", "dcg_at_k"}
    helpers |= {"category_shares", "history_categories", "history_popularity"}
    assert {name for name in functions - helpers if name not in TEXT} == set()


def test_the_factor_of_the_other_ideal_is_the_one_that_is_printed():
    assert f"{(1 / np.log2(np.arange(10) + 2)).sum():.2f} times lower" in TEXT
