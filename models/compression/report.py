"""What a compression reports: one row per stage, one row per part of the bundle, and how alike.

A report is written beside the bundle, never into it: seconds differ from run to run, and the bundle
of the same run must have the same bytes.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from models.bundle import PartBytes
from models.progress import Progress

Figure = float | int | str
_Result = TypeVar("_Result")
_Inputs = ParamSpec("_Inputs")


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage: its name, how long it took, and the figures it is judged by."""

    stage: str
    seconds: float
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class ParityFigures:
    """How alike the bundle is to what it was made from, over the judged texts.

    Those are a catalogue's items, or the held-back prose of a general encoder.

    Attributes:
        torch_onnx_max_abs_diff: largest difference of a number, torch against the fp32 graph.
        int8_fp32_cosine: mean cosine of a text's int8 and fp32 vectors.
        int8_neighbour_agreement: share of the 10 nearest that int8 and fp32 have in common.
        teacher_neighbour_agreement: share of the 10 nearest that int8 and the text teacher have in
            common. The figure that says what the small encoder is worth.
        num_texts: texts compared.
    """

    torch_onnx_max_abs_diff: float
    int8_fp32_cosine: float
    int8_neighbour_agreement: float
    teacher_neighbour_agreement: float
    num_texts: int


@dataclass(frozen=True, slots=True)
class CompressionReport:
    """The whole report.

    Attributes:
        stages: in the order they ran.
        byte_table: adds up to `bundle_bytes` exactly.
        bundle_bytes: all files of the bundle.
        budget_bytes: what they may have.
        parity: how alike.
    """

    stages: tuple[StageRow, ...]
    byte_table: tuple[PartBytes, ...]
    bundle_bytes: int
    budget_bytes: int
    parity: ParityFigures

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and numbers, ready for JSON."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write the report as JSON, in one step."""
        staging = path.with_name(f".{path.name}-{os.getpid()}")
        staging.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        staging.replace(path)


class StageClock:
    """Runs stages and keeps a row of each."""

    def __init__(self, progress: Progress, num_stages: int) -> None:
        self.rows: list[StageRow] = []
        self._progress = progress
        self._num_stages = num_stages

    def run(
        self,
        stage: str,
        work: Callable[_Inputs, tuple[_Result, dict[str, Figure]]],
        *args: _Inputs.args,
        **kwargs: _Inputs.kwargs,
    ) -> _Result:
        """Run one stage; its work returns the result and the figures of its row."""
        self._progress(f"compress: {stage}", len(self.rows), self._num_stages)
        start = time.perf_counter()
        result, figures = work(*args, **kwargs)
        self.rows.append(StageRow(stage, time.perf_counter() - start, figures))
        return result
