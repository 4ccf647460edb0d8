"""Where an instruction goes, by family: what is said of it on the models' cards.

- Qwen3-Embedding and kin: `Instruct: {task}\\nQuery:` before a query; documents are bare.
- EmbeddingGemma: `task: {task} | query: ` before a query; documents have a title, not a task.
- nomic-embed-text: one of four task names before both sides: `{task}: `.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint

Side = Literal["query", "document"]
_NOMIC_TASKS = ("search_query", "search_document", "clustering", "classification")
_FORMS = (
    re.compile(r"^(?P<before>[\s\S]*?Instruct: )[^\n]+(?P<after>\n[\s\S]*)$"),
    re.compile(r"^(?P<before>task: )[^|]+(?P<after> \| query: )$"),
)


def instructed(checkpoint: Checkpoint, side: Side, instruction: str) -> str:
    """The prompt of one side with another task. Raises `UsageError` where the model takes none."""
    task = instruction.strip()
    if not task:
        raise UsageError("the instruction is empty; leave it out for the model's own")
    own = checkpoint.prompts.query
    if own in {f"{name}: " for name in _NOMIC_TASKS}:
        if task not in _NOMIC_TASKS:
            raise UsageError(f"the instruction of {checkpoint.name} is one of {', '.join(_NOMIC_TASKS)}, not {task!r}")
        return f"{task}: "
    if not own and checkpoint.family == "qwen3":
        own = "Instruct: the task\nQuery:"
    found = next((match for form in _FORMS if (match := form.match(own))), None)
    if found is None:
        said = f"its query prompt is always {own!r}" if own else "its texts stand bare"
        raise UsageError(f"{checkpoint.name} takes no instruction; {said}")
    if side == "document":
        raise UsageError(f"{checkpoint.name} takes an instruction for queries only; leave it out for documents")
    return f"{found['before']}{task}{found['after']}"
