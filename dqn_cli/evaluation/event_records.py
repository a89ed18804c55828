"""Event files of TensorBoard, checked before they are read: their lengths may be anything."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

LARGEST_FILE = 2**30  # bytes
LARGEST_RECORD = 2**24
HEADER = struct.Struct("<QI")  # length of a record, and the checksum of the length
FOOTER_SIZE = 4


def load_events(path: Path) -> Any:
    """Return TensorBoard's reader of a file, which has read it.

    Raises:
        ValueError: The file is damaged or too large.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not path.is_file():
        raise ValueError(f"{path} is no file")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise ValueError(f"{path} has {size:,} bytes; at most {LARGEST_FILE:,} are read")
    with path.open("rb") as file:
        position = _find_damage(file, size)
    if position is not None:
        raise ValueError(f"{path} is damaged at byte {position:,}")
    try:
        return EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    except OSError:
        raise
    except Exception as error:  # a file made by hand may raise anything
        raise ValueError(f"{path} is damaged: {type(error).__name__}") from error


def _find_damage(file: IO[bytes], size: int) -> int | None:
    """Return where a record can't be what was written; a last one may be cut off."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    position = 0
    while position + HEADER.size <= size:
        file.seek(position)
        header = file.read(HEADER.size)
        length, checksum = HEADER.unpack(header)
        if length > LARGEST_RECORD or masked_crc32c(header[:-FOOTER_SIZE]) != checksum:
            return position
        position += HEADER.size + length + FOOTER_SIZE
    return None
