"""One encoder that stays as it is, and the scenarios that learn on it.

bundle --> student in torch, to learn on
       --> bundle that takes adapters, in onnxruntime, to be asked as on a phone
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import GRAPH, EncoderBundle
from models.compression.scenarios.scenario_bundle import write_scenario_bundle
from models.compression.scenarios.scenario_training import (
    Objective,
    ScenarioSettings,
    build_scenario,
    train_scenario,
)
from models.progress import Progress
from models.scenarios_serving import ScenarioEncoder
from models.wordpiece import split_texts
from simulation.experiments.encoders.general_students import GeneralStudent

_REQUESTS = 200
"""Requests between two words on how far it is."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One training of a scenario, as the phone loads it.

    Attributes:
        content: the scenario file.
        answer: maps texts to answers (n, answers) float32, a text a request.
    """

    content: bytes
    answer: Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class FrozenEncoder:
    """The encoder under all scenarios: in torch to learn on, in onnxruntime to be asked.

    Attributes:
        general: the student and its words.
        bundle: takes adapters.
        phone: runs the bundle.
    """

    general: GeneralStudent
    bundle: EncoderBundle
    phone: ScenarioEncoder

    @classmethod
    def of_bundle(cls, start: Path, out: Path) -> "FrozenEncoder":
        """Write the bundle that takes adapters, and load it.

        Raises:
            DataError: if `start` is no bundle of a general encoder.
            BudgetError: if there is no room left for the adapters' inputs.
        """
        bundle = write_scenario_bundle(start, out)
        return cls(GeneralStudent.of_bundle(start), bundle, ScenarioEncoder.load(out))

    def learn(
        self,
        name: str,
        texts: Sequence[str],
        objective: Objective,
        answers: int,
        settings: ScenarioSettings,
        labels: Sequence[str],
        seed: int,
        progress: Progress,
    ) -> Candidate:
        """Train a scenario on some texts and load its file.

        Args:
            name: of the scenario, on the phone and in what is told.
            texts: n texts to learn from.
            objective: what is asked of the answers to them.
            answers: numbers per answer.
            settings: place and size of the adapters, and how they learn.
            labels: names of the answers, or none.
            seed: of weights and order.
            progress: told about every step and some requests.

        Raises:
            DataError: if there are no texts, or the training went astray.
            SettingsError: if the encoder has no place for such adapters.
        """
        general, student = self.general, self.general.student
        ids = split_texts(general.tokenizer, texts, general.reading.max_tokens)
        scenario = build_scenario(student, settings, answers, seed)

        def say(_what: str, done: int, total: int) -> None:
            progress(f"training {name}", done, total)

        train_scenario(student, scenario, ids, objective, settings, seed, say)
        graph = str(self.bundle.manifest["files"][GRAPH]["sha256"])
        content = scenario.weights(graph, labels).to_bytes()
        self.phone.add_scenario(name, content)

        def answer(asked: Sequence[str]) -> NDArray[np.float32]:
            rows = []
            for first in range(0, len(asked), _REQUESTS):
                progress(f"asking {name}", first, len(asked))
                rows.append(self.phone.answer(name, asked[first : first + _REQUESTS]))
            progress(f"asking {name}", len(asked), len(asked))
            return np.concatenate(rows)

        return Candidate(content, answer)
