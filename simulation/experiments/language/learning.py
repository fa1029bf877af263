"""How one labelled set is learnt: by the text teacher, then by a student, then in few bits."""

from pathlib import Path

from models.compression.quantization.few_bits import BitPlan
from models.compression.tasks.augmentation import augment
from models.compression.tasks.cross_distillation import Taught, cross_distil
from models.compression.tasks.task import Examples, Task
from models.compression.tasks.task_polish import polish_task
from models.compression.tasks.task_teacher import TaskTeacher, fine_tune
from models.progress import Progress, silent
from models.wordpiece import split_texts
from simulation.data.labelled_texts import LabelledTexts, Split
from simulation.data.teachers import MINILM_NAME, teacher_folder
from simulation.experiments.encoders.general_students import GeneralStudent
from simulation.experiments.language.cells import SplitName
from simulation.experiments.language.settings import LanguageSettings


def task_of(labelled: LabelledTexts, settings: LanguageSettings) -> Task:
    """Return what a model learns of a labelled set.

    Raises:
        DataError: if the set is no task, see `Task`.
        SettingsError: if the settings do not know it.
    """
    return Task(
        name=labelled.name,
        train=Examples(labelled.train.texts, labelled.train.labels),
        validation=Examples(labelled.validation.texts, labelled.validation.labels),
        num_labels=len(labelled.label_names),
        score=settings.of_set(labelled.name).score,
    )


def teacher_of(
    task: Task, settings: LanguageSettings, cache: Path, progress: Progress = silent
) -> TaskTeacher:
    """Return the text teacher, fine-tuned on a task; a run that was killed goes on.

    Raises:
        DataError: if the teacher cannot be had, its training goes astray, or a file in the cache
            is damaged.
        SettingsError: if the settings do not know the task, or more layers are frozen than there
            are.
    """
    name = settings.text_teacher
    source = teacher_folder(cache, progress) if name == MINILM_NAME else name
    fine_tuning, threads = settings.teacher(task.name), settings.threads
    return fine_tune(source, task, fine_tuning, cache, settings.teacher_seed, threads, progress)


def teach(
    task: Task,
    teacher: TaskTeacher,
    start: GeneralStudent,
    start_name: str,
    variant: str,
    settings: LanguageSettings,
    cache: Path,
    seed: int,
    progress: Progress = silent,
) -> Taught:
    """Teach a general student a task by cross-distillation.

    Args:
        task: what it learns.
        teacher: fine-tuned on it.
        start: who learns; stays as it is.
        start_name: of the settings.
        variant: manner of cross-distillation.
        settings: of all.
        cache: folder of the teacher's features.
        seed: of the training; the texts without labels are the same for all seeds.
        progress: told about every step.

    Raises:
        DataError: if the teacher has another number of classes, a loss is no longer a finite
            number, or the cache cannot be written.
        SettingsError: if the settings do not know the task, start or variant.
    """
    more = augment(task.train.texts, settings.augmentation(task.name), settings.teacher_seed)
    return cross_distil(
        start.student,
        start.tokenizer,
        teacher,
        task,
        more,
        settings.cross_distillation(task.name, start_name, variant),
        cache,
        seed,
        settings.threads,
        progress,
    )


def finish(
    taught: Taught,
    task: Task,
    start: GeneralStudent,
    format_name: str,
    seed: int,
    settings: LanguageSettings,
    progress: Progress = silent,
) -> tuple[Taught, BitPlan]:
    """Return what is exported in a format: the bits of each weight, and the student for them.

    Args:
        taught: trained in fp32; it is the student as well unless the format asks for a polish.
        task: whose training texts the polish reads.
        start: whose words the student has.
        format_name: of the settings.
        seed: of the polish.
        settings: of all.
        progress: told about every step.

    Raises:
        SettingsError: if the settings do not know the task, or the bits do not fit the student's
            shape.
    """
    wanted = settings.formats[format_name]
    plan = wanted.plan(taught.student.settings)
    if not wanted.polish or settings.task.polish.steps == 0:
        return taught, plan
    more = augment(task.train.texts, settings.augmentation(task.name), settings.teacher_seed)
    longest = taught.student.settings.max_tokens
    ids = split_texts(start.tokenizer, [*task.train.texts, *more], longest)
    t, polish = settings.task.cross_distillation.temperature, settings.task.polish
    return polish_task(taught, plan, ids, t, polish, seed, settings.threads, progress), plan


def judged_part(labelled: LabelledTexts, split: SplitName) -> Split:
    """Return the texts that a cell is judged on."""
    return labelled.test if split == "test" else labelled.validation
