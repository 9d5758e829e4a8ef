"""Keep finished work in files that say which inputs it came from. No torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adgan_cli.atomic import replacing, write_text
from adgan_cli.config import canonical_json

if TYPE_CHECKING:
    import numpy as np

KEY = "made_by"  # in each file; format, as is the header's one entry (see engine/models/header.py)
HEADER = "adgan"


@dataclass(frozen=True)
class KeyedStore:
    """The files of a folder that belong to one key.

    key: all inputs that the work depends on, plain JSON. A file that is missing, torn, foreign or
    of another key is not there: load returns None, and nothing is lost but the time to do it again.
    """

    folder: Path
    key: Mapping[str, Any]

    def load(self, name: str) -> dict[str, Any] | None:
        """Read a record that `save` wrote under this key."""
        try:
            return self._unlocked((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def save(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a record, plain JSON, whole or not at all. Raises OutputError."""
        key = json.loads(canonical_json(self.key))  # in canonical order
        write_text(self.folder / name, json.dumps({KEY: key, **record}, indent=2) + "\n")

    def load_arrays(self, name: str) -> "tuple[dict[str, np.ndarray], dict[str, Any]] | None":
        """Read the arrays and the record that `save_arrays` wrote under this key."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / name, framework="numpy") as file:
                record = self._unlocked((file.metadata() or {}).get(HEADER, ""))
                if record is None:
                    return None
                return {array: file.get_tensor(array) for array in file.keys()}, record
        except (OSError, ValueError, SafetensorError):
            return None

    def save_arrays(
        self, name: str, arrays: "Mapping[str, np.ndarray]", record: Mapping[str, Any] | None = None
    ) -> None:
        """Write contiguous arrays, and a record beside them, to a safetensors file; as `save`."""
        from safetensors.numpy import save

        header = {HEADER: canonical_json({KEY: self.key, **(record or {})})}
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(save(dict(arrays), header))

    def _unlocked(self, text: str) -> dict[str, Any] | None:
        """Return what a file says besides its key, or None if that is not ours."""
        written = json.loads(text)
        if not isinstance(written, dict) or KEY not in written:
            return None
        key = written.pop(KEY)
        return written if canonical_json(key) == canonical_json(self.key) else None
