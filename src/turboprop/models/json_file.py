"""The small JSON files of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turboprop.errors import ModelFormatError


def read_json(path: Path) -> Any:
    """The parsed file, or None where it is absent. Raises `ModelFormatError`."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not valid JSON: {error}") from error
