"""The language tasks: each labelled set, learnt by each kind of model, judged as it ships.

```
labelled set --fine-tuning--> teacher --------------------------------------> "teacher"
      |                          |  features, head
      |     general student --cross-distillation--> student + readout --bits--> fp32, int8, ...
      +--TF-IDF + logistic regression--------------------------------------> "tf-idf"
```

One cell (see `cells`) is one of these arms on one set. The teacher of a set is fine-tuned
once and serves all students and seeds. Choices are made on the validation split; a cell of the test
split looks at the test texts once, at its end.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from models.compression.tasks.cross_distillation import Taught
from models.compression.tasks.task import Task
from models.compression.tasks.task_teacher import TaskTeacher
from models.progress import Progress, silent
from simulation.data.labelled_texts import CLINC150, LabelledTexts, load_labelled
from simulation.data.teachers import teacher_sha256
from simulation.experiments.encoders.general_students import GeneralStudent, open_start
from simulation.experiments.language.cells import TF_IDF, Cell, SplitName, digest_of
from simulation.experiments.language.learning import task_of, teach, teacher_of
from simulation.experiments.language.settings import LanguageSettings

Thing = TypeVar("Thing")


@dataclass(slots=True)
class Workbench:
    """What cells are made with; of sets, teachers and starts the last one is kept in memory.

    Attributes:
        settings: of all sets, starts and variants.
        cache: folder of downloads, teachers, features and compressed starts.
        clinc150: the user's own copy of CLINC150's data_full.json, if there is one.
        progress: told about everything.
    """

    settings: LanguageSettings
    cache: Path
    clinc150: Path | None = None
    progress: Progress = silent
    _last: dict[str, tuple[str, object]] = field(default_factory=dict)
    _hashes: dict[tuple[str, ...], str] = field(default_factory=dict)

    def labelled(self, set_name: str) -> LabelledTexts:
        """A labelled set, its training rows cut to the limit."""
        limit = self.settings.of_set(set_name).train_limit or None

        def load() -> LabelledTexts:
            path = self.clinc150 if set_name == CLINC150 else None
            seed = self.settings.teacher_seed
            return load_labelled(set_name, self.cache, path, limit, seed, self.progress)

        return self._kept("labelled", set_name, load)

    def task(self, set_name: str) -> Task:
        """What is learnt: training and validation texts; the test texts are no part of it."""
        labelled = self.labelled(set_name)
        return task_of(labelled, self.settings)

    def teacher(self, set_name: str) -> TaskTeacher:
        """The fine-tuned teacher of a set, from the cache if it was made before."""
        return self._kept(
            "teacher",
            set_name,
            lambda: teacher_of(self.task(set_name), self.settings, self.cache, self.progress),
        )

    def start(self, name: str) -> GeneralStudent:
        """The general student of a start, compressed first if need be."""
        settings = self.settings.of_start(name)
        return self._kept("start", name, lambda: open_start(settings, self.cache, self.progress))

    def taught(self, set_name: str, start: str, variant: str, seed: int) -> Taught:
        """A start's student that has learnt a set."""
        return teach(
            self.task(set_name),
            self.teacher(set_name),
            self.start(start),
            start,
            variant,
            self.settings,
            self.cache,
            seed,
            self.progress,
        )

    def digest(self, cell: Cell, *, make: bool = True) -> str:
        """Return the hash of all that a cell's result depends on, but for the code.

        Args:
            cell: whose.
            make: whether its start is compressed if it is not there.

        Raises:
            DataError: if the set, the teacher's files or the start cannot be read.
            SettingsError: if the settings do not know the cell's set, arm or variant.
        """
        settings, of_set = self.settings, self.settings.of_set(cell.set_name)
        parts: dict[str, object] = {
            "cell": [cell.set_name, cell.arm, cell.variant, cell.seed, cell.split],
            "set": [of_set.score, of_set.train_limit],
        }
        if cell.is_student:
            names = settings.formats_of(cell.arm, cell.variant)
            bits = {name: settings.formats[name].model_dump() for name in names}
            learning = settings.cross_distillation(cell.set_name, cell.arm, cell.variant)
            fingerprint = self._fingerprint(cell.arm, make)
            parts["student"] = [fingerprint, settings.budget_bytes, bits]
            parts["learning"] = learning.model_dump()
            parts["polish"] = settings.task.polish.model_dump()
            parts["augmentation"] = settings.augmentation(cell.set_name).model_dump()
        if cell.arm == TF_IDF:
            parts["tf-idf"] = settings.tf_idf.model_dump()
        else:
            parts["teacher"] = [
                settings.text_teacher,
                self._hashed(("teacher",), lambda: teacher_sha256(settings.text_teacher)),
                settings.teacher_seed,
                settings.threads,
                settings.teacher(cell.set_name).model_dump(),
            ]
        parts["texts"] = self._texts_sha256(cell.set_name, cell.split)
        return digest_of(parts)

    def _texts_sha256(self, set_name: str, split: SplitName) -> list[str]:
        """Hashes of the texts that a cell sees: of test texts only where they are judged on."""

        def learnt() -> str:
            found = self.labelled(set_name)
            parts = (found.train, found.validation)
            rows = [[part.texts, part.labels.tolist()] for part in parts]
            return digest_of([found.label_names, rows])

        def test() -> str:
            found = self.labelled(set_name).test
            return digest_of([found.texts, found.labels.tolist()])

        hashes = [self._hashed(("learnt", set_name), learnt)]
        return [*hashes, self._hashed(("test", set_name), test)] if split == "test" else hashes

    def _fingerprint(self, start: str, make: bool) -> str:
        """The fingerprint of a start's student."""

        def read() -> str:
            if make:
                return self.start(start).fingerprint
            return open_start(self.settings.of_start(start), self.cache, make=False).fingerprint

        return self._hashed(("start", start), read)

    def _hashed(self, key: tuple[str, ...], make: Callable[[], str]) -> str:
        if key not in self._hashes:
            self._hashes[key] = make()
        return self._hashes[key]

    def _kept(self, kind: str, name: str, make: Callable[[], Thing]) -> Thing:
        if kind not in self._last or self._last[kind][0] != name:
            self._last.pop(kind, None)  # two teachers at once need not be in memory
            self._last[kind] = (name, make())
        found: Thing = self._last[kind][1]  # type: ignore[assignment]
        return found
