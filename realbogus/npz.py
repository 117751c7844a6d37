"""Arrays to .npz bytes and back: the same arrays give the same bytes, and reading trusts nothing.

No pickle in either direction. What an entry would inflate to is known and capped before it is inflated, and its header
is believed only where the bytes agree.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from realbogus.errors import ModelError

Arrays = Mapping[str, NDArray[Any]]

MAX_BYTES = 2**29  # of all arrays of a file together, inflated
HEADER_BYTES = 4096  # of an .npy header; ours take 128
_THE_ONLY_TIME = (1980, 1, 1, 0, 0, 0)  # what zip writes when no time is meant
_UNREADABLE = (  # what zipfile, zlib and numpy raise at bytes that are not what they claim to be
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def to_bytes(arrays: Arrays) -> bytes:
    """The .npz file of these arrays: entries in order of their names, no times, no pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            npy.write_array(entry, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _THE_ONLY_TIME)
            info.create_system, info.external_attr = 3, 0o644 << 16  # the same on every system
            archive.writestr(info, entry.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return file.getvalue()


def from_bytes(raw: bytes, dtypes: Mapping[str, str], *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file, which must be exactly those named, of exactly these dtypes.

    Raises ModelError for anything else: other names, other types, damage, or more than max_bytes when inflated.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            _check_entries(archive, dtypes, max_bytes)
            return {name: _array(archive, name, dtypes[name]) for name in sorted(dtypes)}
    except ModelError:
        raise
    except _UNREADABLE as error:
        raise ModelError(f"these are not the arrays of a model: {error}") from error


def content_sha256(arrays: Arrays, extra: bytes = b"") -> str:
    """A digest of what arrays say, however they were compressed: names, dtypes, shapes, numbers, then `extra`."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    digest.update(extra)
    return digest.hexdigest()


def _check_entries(archive: zipfile.ZipFile, dtypes: Mapping[str, str], max_bytes: int) -> None:
    found = sorted(info.filename for info in archive.infolist())
    wanted = sorted(f"{name}.npy" for name in dtypes)
    if found != wanted:
        raise ModelError(f"expected the entries {wanted}, found {found[: len(wanted) + 5]}")
    size = sum(info.file_size for info in archive.infolist())
    if size > max_bytes:
        raise ModelError(f"the arrays would inflate to {size} bytes, more than {max_bytes}")


def _array(archive: zipfile.ZipFile, name: str, dtype: str) -> NDArray[Any]:
    declared = archive.getinfo(f"{name}.npy").file_size
    with archive.open(f"{name}.npy") as entry:
        raw = entry.read(declared)
    file = io.BytesIO(raw)
    if npy.read_magic(file) != (1, 0):
        raise ModelError(f"{name}: expected version 1.0 of the array format")
    shape, fortran, found = npy.read_array_header_1_0(file, max_header_size=HEADER_BYTES)
    if found != np.dtype(dtype):
        raise ModelError(f"{name}: expected {np.dtype(dtype)}, found {found}")
    body = memoryview(raw)[file.tell() :]
    if (fortran and len(shape) > 1) or min(shape, default=0) < 0 or math.prod(shape) * found.itemsize != len(body):
        raise ModelError(f"{name}: {len(body)} bytes are not an array of shape {shape}")
    return np.frombuffer(body, dtype=found).reshape(shape)
