"""What a report consists of, and which of its parts a hit holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from turboprop import Index
from turboprop.search.report import PARTS, held_of, parts_of

REPORT = """Blueprints with a dot in their name give wrong endpoints

When a blueprint is registered whose name contains a dot, its routes cannot be resolved any more by url_for.

```python
bluprint = Blueprint("admin.users", __name__)
```

That is what it prints:

```
Traceback (most recent call last):
  File "src/routing.py", line 3, in resolve
    raise BuildError(endpoint)
```

Nested blueprints were introduced lately, so a check would help those who migrate their application.
"""


def test_a_report_is_taken_apart() -> None:
    parts = parts_of(REPORT)
    assert list(parts) == list(PARTS)
    assert parts["title"] == REPORT.partition("\n")[0]
    assert "admin.users" in parts["code"] and "BuildError" in parts["traceback"]
    assert "Nested blueprints" in parts["prose"] and "Traceback" not in parts["prose"]


@given(st.text(alphabet="ab `~\n\t.:1", max_size=200))
def test_any_text_may_be_taken_apart(text: str) -> None:
    parts = parts_of(text)
    assert set(parts) <= set(PARTS)
    assert all(0 <= share <= 1 for share in held_of(parts, {}, text).values())


def test_a_hit_says_which_part_found_it(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files(
        {
            "routing.py": "class BuildError(Exception):\n    pass\n\n\ndef resolve(endpoint):\n    raise BuildError\n",
            "users.py": "bluprint = Blueprint('admin.users', __name__)\n",
            "other.py": "def unrelated():\n    return 1\n",
        }
    )
    with Index.create(root, "none") as index:
        hits = {hit.path: hit.parts for hit in index.search(REPORT)}
        short = index.search("unrelated")[0].parts
    assert hits["routing.py"]["in traceback"] > hits["routing.py"]["in code"]
    assert hits["users.py"]["in code"] > hits["users.py"]["in traceback"]
    assert not any(name.startswith("in ") for name in short)
