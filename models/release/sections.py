"""Where the tensors lie in a file, so that old and new weights can be laid side by side.

    encoder.onnx      raw data of each initializer         by its name
    recommender.npz   data of each member (stored, not compressed)
    item_text.npy     the data behind the header
    vocab.txt         each line, by itself

Read where releases are made; a phone that applies a delta needs none of it.
"""

import io
import zipfile
from dataclasses import dataclass

import numpy as np

SMALLEST_TENSOR_BYTES = 64


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a file.

    Attributes:
        key: what it is; the section of the other file with the same key is its like.
        offset: of its first byte.
        length: in bytes.
        item_bytes: of one number.
        row_bytes: of one row of a table; 0: it is none.
    """

    key: str
    offset: int
    length: int
    item_bytes: int
    row_bytes: int = 0

    def cut(self, content: bytes) -> bytes:
        """The stretch itself."""
        return content[self.offset : self.offset + self.length]


def sections(name: str, content: bytes) -> tuple[Section, ...]:
    """Find the sections of a file, in order of place; none in a file that is not understood.

    Args:
        name: its ending says what it is.
        content: all of it.
    """
    readers = {".onnx": _of_onnx, ".npz": _of_npz, ".npy": _of_npy, ".txt": _of_lines}
    for ending, reader in readers.items():
        if name.endswith(ending):
            found = sorted(reader(content), key=lambda each: each.offset)
            return tuple(found)
    return ()


def _of_onnx(content: bytes) -> list[Section]:
    import onnx  # heavy, and only here

    found, place = [], 0
    for tensor in onnx.load_from_string(content).graph.initializer:
        raw = tensor.raw_data
        at = content.find(raw, place) if len(raw) >= SMALLEST_TENSOR_BYTES else -1
        if at < 0:
            continue
        size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        row = len(raw) // tensor.dims[0] if len(tensor.dims) == 2 else 0
        found.append(Section(tensor.name, at, len(raw), size, row))
        place = at + len(raw)
    return found


def _of_npz(content: bytes) -> list[Section]:
    found = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                continue
            header = content[member.header_offset : member.header_offset + 30]
            start = member.header_offset + 30
            start += int.from_bytes(header[26:28], "little") + int.from_bytes(
                header[28:30], "little"
            )
            for inner in _of_npy(content[start : start + member.file_size]):
                offset = start + inner.offset
                found.append(Section(member.filename, offset, inner.length, inner.item_bytes))
    return found


def _of_npy(content: bytes) -> list[Section]:
    file = io.BytesIO(content)
    array = np.load(file, allow_pickle=False)
    start = len(content) - array.nbytes
    return [Section("array", start, array.nbytes, array.dtype.itemsize)]


def _of_lines(content: bytes) -> list[Section]:
    found, place = [], 0
    for line in content.split(b"\n")[:-1]:
        found.append(Section(line.hex(), place, len(line) + 1, 1))
        place += len(line) + 1
    return found
