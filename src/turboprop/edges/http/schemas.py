"""What requests have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RequestBody(BaseModel):
    """A JSON object; a field that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
