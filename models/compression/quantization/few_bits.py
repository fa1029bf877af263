"""From fp32 to few bits: how numbers of a weight become small integers and steps, in NumPy.

```
rows      tables of words and positions
          8 bits: a step per row                   value = q * step,  q in -127..127
          fewer:  a step per about 32 numbers      value = (q - top / 2) * step,  q in 0..top
matrices  8 bits: a step per output channel        value = q8 * step,  q8 in -127..127
          fewer:  a multiplier per about 32 too    q8    = round((2q - top) * multiplier / top)
steps     stored as 8-bit logarithms               step  = exp(start + slope * code)
```

Here top = 2^b - 1 is the highest number of b bits.

EI-BERT quantises "module-wise INT8" after distillation; that much is the paper's. The rest is our
choice. A *plan* says how many bits each weight takes. Below 8 bits a matrix is stored in the manner
of *progressive* quantisation [1]: its small integers and multipliers give an exact int8 matrix,
made once when the graph is loaded, so that it takes 4 bits on the phone's disk and runs as fast as
int8. Steps of steps (here logarithms in 8 bits) are QLoRA's double quantisation [2].

Every function returns what the graph stores; `.values()` is what the graph computes from it.

[1] Y. Lin et al., "QServe", MLSys 2025, arXiv 2405.04532, section 4.1.
[2] T. Dettmers et al., "QLoRA", NeurIPS 2023, arXiv 2305.14314, section 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.compression.student import Student, StudentSettings
from models.errors import SettingsError

BitPlan = Mapping[str, int]
"""Bits of each weight with two axes, by its name in the student without ".weight"."""

FULL = 32
"""Bits of a weight that is left as it is."""

PLANES = {8: (8,), 6: (4, 2), 5: (4, 1), 4: (4,), 3: (2, 1), 2: (2,)}
"""How b bits are stored: in planes of 8, 4, 2 or 1 bits, the high bits first. A plane of p bits
packs 8 / p numbers into a byte."""

GROUP = 32
"""Numbers that share a step below 8 bits, as near to this as divides the width."""

STEPS_TRIED = 4
"""Lengths of a step below 8 bits, of which each group takes the one that loses least. For 32 normal
numbers in 4 bits that takes 10 % off the squared error of the longest step."""

LARGEST_INT8 = 127
LARGEST_CODE = 255

SMALLEST_STEP = 1e-30
"""A shorter step is raised to this, so that dividing by it is safe."""

LONGEST_RANGE = 16 * np.log(2)
"""Steps below the largest one by more than 2^16 are raised to that."""

ROW_TABLES = ("words", "positions")


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Steps as 8-bit logarithms: step = exp(start + slope * code), code 0 is the largest."""

    codes: np.ndarray
    slope: np.float32
    start: np.float32

    def values(self) -> np.ndarray:
        """Return the steps, float32 of the codes' shape, as the graph computes them."""
        values: np.ndarray = np.exp(self.codes.astype(np.float32) * self.slope + self.start)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A table of which rows are read one by one: (n, E) numbers of `bits` bits."""

    bits: int
    integers: np.ndarray  # (n, E): int8 around 0, or below 8 bits uint8 below 2^bits
    steps: Steps  # (n, groups)

    def values(self) -> np.ndarray:
        """Return the table, (n, E) float32."""
        rows, groups = self.steps.codes.shape
        centre = 0 if self.bits == 8 else middle(self.bits)
        centred = self.integers.astype(np.float32) - np.float32(centre)
        spread = centred.reshape(rows, groups, -1) * self.steps.values()[:, :, None]
        values: np.ndarray = spread.reshape(self.integers.shape)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A matrix (inputs, outputs), a step per output; below 8 bits a multiplier per group too."""

    bits: int
    integers: np.ndarray  # (inputs, outputs): int8, or below 8 bits uint8 below 2^bits
    steps: Steps  # (outputs,)
    multipliers: np.ndarray | None  # (groups, outputs) uint8 in 0..127, below 8 bits

    def int8(self) -> np.ndarray:
        """Return the int8 matrix that is multiplied, (inputs, outputs)."""
        if self.multipliers is None:
            return self.integers
        groups, outputs = self.multipliers.shape
        rows = self.multipliers.astype(np.int32)[:, None, :] * 2**self.bits
        places = self.integers.reshape(groups, -1, outputs) + rows
        made: np.ndarray = products(self.bits)[places].reshape(self.integers.shape)
        return made

    def values(self) -> np.ndarray:
        """Return the matrix, (inputs, outputs) float32."""
        values: np.ndarray = self.int8().astype(np.float32) * self.steps.values()
        return values


def quantize_rows(table: np.ndarray, bits: int) -> Rows:
    """Quantise a table of rows.

    At 8 bits no number is off by more than half a step of its row, below by more than one step of
    its group. Below 8 bits the levels lie evenly around zero and none is zero: all 2^bits are used.

    Args:
        table: (n, E) float32, finite.
        bits: one of `PLANES`.
    """
    n, width = table.shape
    grouped = table.reshape(n, num_groups(width, bits), -1)
    if bits == 8:
        steps = encode_steps(_reach(grouped, axis=2) / LARGEST_INT8)
        scaled = (table / steps.values().astype(np.float64)).round()
        return Rows(bits, scaled.clip(-LARGEST_INT8, LARGEST_INT8).astype(np.int8), steps)
    steps = encode_steps(_least_error(grouped, bits, axis=2))
    scaled = (grouped / steps.values().astype(np.float64)[:, :, None]).reshape(n, width)
    levels = (scaled + middle(bits)).round().clip(0, 2**bits - 1)
    return Rows(bits, levels.astype(np.uint8), steps)


def quantize_columns(matrix: np.ndarray, bits: int) -> Columns:
    """Quantise a matrix for the int8 product, symmetrically, per output channel.

    At 8 bits no number is off by more than half a step of its channel, below by more than one level
    of its group and half a step.

    Args:
        matrix: (inputs, outputs) float32, finite.
        bits: one of `PLANES`.
    """
    inputs, outputs = matrix.shape
    steps = encode_steps(_reach(matrix, axis=0) / LARGEST_INT8)
    scaled = matrix / steps.values().astype(np.float64)
    if bits == 8:
        rounded = scaled.round().clip(-LARGEST_INT8, LARGEST_INT8)
        return Columns(bits, rounded.astype(np.int8), steps, None)
    grouped = scaled.reshape(num_groups(inputs, bits), -1, outputs)
    level = 2 / highest(bits)  # of a group whose multiplier is 1
    needed = _least_error(grouped, bits, axis=1) / level
    multipliers = np.ceil(needed - 1e-6).clip(0, LARGEST_INT8)
    divided = grouped / (level * np.maximum(multipliers, 1))[:, None, :]
    integers = (divided + middle(bits)).round().clip(0, 2**bits - 1).astype(np.uint8)
    return Columns(bits, integers.reshape(inputs, outputs), steps, multipliers.astype(np.uint8))


def encode_steps(needed: np.ndarray) -> Steps:
    """Store steps as 8-bit logarithms, each rounded up, so that nothing is cut off.

    The 256 codes span just the range of these steps: a step is raised by at most 1 / 255 of the
    range's logarithm, 1 % for steps that differ by a factor of 10.

    Args:
        needed: float64, each >= 0.
    """
    logarithms = np.log(np.maximum(needed, SMALLEST_STEP))
    start = logarithms.max()
    positive = logarithms[needed > 0]
    lowest = max(positive.min(initial=start), start - LONGEST_RANGE)
    slope = (lowest - start) / LARGEST_CODE
    logarithms = np.maximum(logarithms, lowest)
    codes = np.floor((logarithms - start) / slope + 1e-6) if slope else np.zeros(needed.shape)
    return Steps(codes.clip(0, LARGEST_CODE).astype(np.uint8), np.float32(slope), np.float32(start))


def pack(integers: np.ndarray, bits: int, axis: int) -> tuple[np.ndarray, ...]:
    """Pack small integers into bytes, a tensor per plane.

    A byte of a plane of p bits holds 8 / p numbers that lie a (p / 8)th of the axis apart, so that
    unpacking is a few shifts and one concatenation.

    >>> [plane.tolist() for plane in pack(np.array([[1, 2, 15, 0]], np.uint8), 4, axis=1)]
    [[[241, 2]]]

    Args:
        integers: uint8 below 2^bits; 8 bits of any sign stay as they are.
        bits: one of `PLANES`.
        axis: along which; its length is a multiple of 8 / (the thinnest plane).
    """
    if bits == 8:
        return (integers,)
    planes = []
    left = bits
    for width in PLANES[bits]:
        left -= width
        plane = (integers >> left) & (2**width - 1)
        parts = np.split(plane, 8 // width, axis)
        shifted = [part << (width * place) for place, part in enumerate(parts)]
        planes.append(np.bitwise_or.reduce(shifted).astype(np.uint8))
    return tuple(planes)


def unpack(planes: Sequence[np.ndarray], bits: int, axis: int) -> np.ndarray:
    """Undo `pack`: uint8 below 2^bits; 8 bits stay as they are.

    >>> unpack(pack(np.array([[1, 2, 15, 0]], np.uint8), 4, axis=1), 4, axis=1).tolist()
    [[1, 2, 15, 0]]
    """
    if bits == 8:
        return planes[0]
    whole = np.zeros((), np.uint8)
    for plane, width in zip(planes, PLANES[bits], strict=True):
        places = range(8 // width)
        parts = [(plane >> (width * place)) & (2**width - 1) for place in places]
        whole = (whole << width) | np.concatenate(parts, axis)
    return np.asarray(whole, np.uint8)


def middle(bits: int) -> float:
    """Return the centre of the levels 0..2^bits - 1."""
    return highest(bits) / 2


def highest(bits: int) -> int:
    """Return the highest of the levels 0..2^bits - 1."""
    return int(2**bits - 1)


def products(bits: int) -> np.ndarray:
    """Return round((2q - top) * m / top) for all m in 0..127 and q in 0..top, m by m: int8."""
    top = highest(bits)
    odd = 2 * np.arange(top + 1, dtype=np.float32) - top
    rounded = np.rint(odd * np.arange(LARGEST_INT8 + 1)[:, None] / top)
    flat: np.ndarray = rounded.astype(np.int8).ravel()
    return flat


def num_groups(width: int, bits: int) -> int:
    """Return how many groups share the numbers of an axis: 1 at 8 bits."""
    if bits == 8:
        return 1
    sizes = (size for size in range(1, width + 1) if width % size == 0)
    return width // min(sizes, key=lambda size: (abs(size - GROUP), size))


def _reach(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest size of a number along an axis, float64."""
    reach: np.ndarray = np.abs(values).max(axis=axis).astype(np.float64)
    return reach


def _least_error(grouped: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """Return the step of each group that loses least, float64.

    A shorter step is finer for most numbers and cuts off the largest ones. The shortest one tried
    cuts off one step.

    Args:
        grouped: the numbers, a group along `axis`.
        bits: below 8.
        axis: of the numbers within a group.
    """
    longest = _reach(grouped, axis) / middle(bits)
    centre = np.float32(middle(bits))
    divisors = np.expand_dims(np.maximum(longest, SMALLEST_STEP), axis)
    values = (grouped / divisors).astype(np.float32)  # the longest step is 1
    shares = np.linspace(1, middle(bits) / (middle(bits) + 1), STEPS_TRIED)
    errors = []
    for share in shares.astype(np.float32):
        levels = (values / share + centre).round().clip(0, 2**bits - 1)
        errors.append((((levels - centre) * share - values) ** 2).sum(axis=axis))
    best: np.ndarray = longest * shares[np.argmin(errors, axis=0)]
    return best


def weight_names(settings: StudentSettings) -> tuple[str, ...]:
    """Return the names of a student's weights that a plan gives bits to, in their order."""
    names = [*ROW_TABLES]
    if settings.embedding_size != settings.hidden_size:
        names.append("widen")
    for layer in range(settings.layers):
        parts = ("query_key_value", "attention_out", "feed_in", "feed_out")
        names += [f"layers.{layer}.{part}" for part in parts]
    for place in range(settings.depth if settings.adapter_size else 0):
        names += [f"adapters.{place}.down", f"adapters.{place}.up"]
    return (*names, "projector")


def plan_bits(settings: StudentSettings, embedding_bits: int, matrix_bits: int) -> BitPlan:
    """Return the plan with these bits for the two tables and for all matrices.

    Args:
        settings: the student's shape.
        embedding_bits: 32 or one of `PLANES`.
        matrix_bits: 32 or one of `PLANES`.
    """
    return {
        name: embedding_bits if name in ROW_TABLES else matrix_bits
        for name in weight_names(settings)
    }


def uniform(student: Student, bits: int) -> BitPlan:
    """Return the plan with the same bits everywhere."""
    return plan_bits(student.settings, bits, bits)


def check_plan(settings: StudentSettings, plan: BitPlan) -> None:
    """Raise if a plan does not fit a student.

    Raises:
        SettingsError: if names are missing or unknown, bits are unknown, or a width cannot be
            packed into whole bytes.
    """
    names = weight_names(settings)
    if set(plan) != set(names):
        raise SettingsError(
            f"the bit plan has {sorted(set(plan) - set(names))} too many and "
            f"{sorted(set(names) - set(plan))} too few: name each weight of the student once"
        )
    for name, bits in plan.items():
        if bits not in (FULL, *PLANES):
            raise SettingsError(
                f"the bit plan gives {name} {bits} bits: take one of {[FULL, *PLANES]}"
            )
        width = _packed_width(settings, name)
        if bits != FULL and width % (8 // min(PLANES[bits])):
            raise SettingsError(
                f"{name} is {width} wide, not a multiple of {8 // min(PLANES[bits])}: {bits} bits "
                "cannot be packed; change the size, or take 8 bits"
            )


def _packed_width(settings: StudentSettings, name: str) -> int:
    """Return the length of the axis that a weight is packed along: its inputs."""
    if name in (*ROW_TABLES, "widen"):
        return settings.embedding_size
    if name.endswith(".feed_out"):
        return settings.intermediate_size
    return settings.adapter_size if name.endswith(".up") else settings.hidden_size
