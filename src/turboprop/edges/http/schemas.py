"""What requests have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt

TokenId = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]


class RequestBody(BaseModel):
    """A JSON object; a field that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
