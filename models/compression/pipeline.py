"""The whole compression: seven stages, seven rows of the report, one bundle.

```
text_teacher   the teacher reads items, queries and prose: vectors and attention     90 MB
pruning        which words stay                                                      30,522 -> 7,000
student        a small ALBERT that starts as the best bag of words
distillation   it learns the teacher's vectors
export         an fp32 ONNX graph, equal to torch                                    7 MB
quantization   int8                                                                  1.8 MB
bundle         graph, vocabulary, tokenizer settings, manifest                       <= 1,910,000 bytes
```

Stage by stage this follows EI-BERT [1] in its first cut: cross-distillation with task heads is not
in it yet. What of it is the paper's and what is our choice stands in each stage's module.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, Field
from threadpoolctl import threadpool_limits

from models.bundle import ENCODER_BUDGET_BYTES, EncoderBundle, PartBytes
from models.compression.corpus import Corpus, CorpusSettings
from models.compression.distillation import DistillationSettings
from models.compression.pruning import PruningSettings
from models.compression.student import StudentSettings
from models.compression.text_teacher import TeacherSettings
from models.compression.warm_start import WarmStartSettings
from models.progress import Progress, silent


class CompressionSettings(BaseModel, extra="forbid", frozen=True):
    """Everything a compression can be told, one section per stage."""

    budget_bytes: int = Field(
        description="most bytes of the whole bundle", ge=20_000, le=ENCODER_BUDGET_BYTES
    )
    corpus: CorpusSettings
    teacher: TeacherSettings
    pruning: PruningSettings
    student: StudentSettings
    warm_start: WarmStartSettings
    distillation: DistillationSettings
