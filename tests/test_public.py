"""The public names: everything that a program meets can be imported from `turboprop`."""

from __future__ import annotations

import turboprop
from turboprop import errors


def test_every_public_name_is_there() -> None:
    for name in turboprop.__all__:
        assert getattr(turboprop, name) is not None
    assert set(turboprop.__all__) <= set(dir(turboprop))


def test_every_error_is_public() -> None:
    ours = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert ours
    assert ours <= set(turboprop.__all__)
