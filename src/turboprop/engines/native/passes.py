"""What is made of a model's steps before they run.

Steps that can be one become one, those that only the rows asked for need are over these alone, and values that never
live at the same time share memory.
"""

from __future__ import annotations

from dataclasses import replace

from turboprop.engines.native.steps import Buffer, Kind, Traced, TracedStep, Value

_ROW_BY_ROW = frozenset(
    {Kind.QUANTIZE, Kind.PRODUCT, Kind.RMS, Kind.LAYER, Kind.ACTIVATE, Kind.ADD, Kind.MULTIPLY, Kind.SCALE}
)
"""Steps whose rows need nothing but the same row of what they read."""


def pick_early(steps: list[TracedStep], x: Value) -> bool:
    """Whether the steps after the last attention, x's among them, could be left to the rows asked for.

    Each of their rows depends on the same row alone. They are 3/4 of a last layer: where the first or last token
    stands for all, all-MiniLM-L6-v2's shape takes 0.91 of the time, nomic-embed-text's 0.95, Qwen3-0.6B's 0.97.
    """
    after = 1 + max((number for number, step in enumerate(steps) if step.kind is Kind.ATTEND), default=-1)
    late = steps[after:]
    kinds = [step.kind for step in late]
    made = {step.to.buffer for step in late if step.to is not None}
    if after == 0 or x.buffer not in made or not set(kinds) <= _ROW_BY_ROW:
        return False
    products = [number for number, step in enumerate(late) if step.kind is Kind.PRODUCT and step.x is None]
    if products and Kind.QUANTIZE not in kinds[: products[0]]:
        return False  # it takes activations that were quantised before the attention, all rows of them
    picks: dict[Buffer, TracedStep] = {}

    def picked(value: Value | None) -> Value | None:
        if value is None or value.buffer is None or value.buffer in made:
            return value
        if value.buffer not in picks:
            width = value.buffer.width
            to, whole = Value(Buffer(width), width), Value(value.buffer, width)
            picks[value.buffer] = TracedStep(Kind.PICK, to, whole, width=width, picked=True)
        step = picks[value.buffer]
        assert step.to is not None
        return replace(value, buffer=step.to.buffer)

    for step in late:
        step.x, step.y, step.picked = picked(step.x), picked(step.y), True
    steps[after:after] = picks.values()
    return True


def _uses(steps: list[TracedStep]) -> dict[Buffer, list[int]]:
    found: dict[Buffer, list[int]] = {}
    for number, step in enumerate(steps):
        for buffer in step.reads():
            found.setdefault(buffer, []).append(number)
        if step.to is not None and step.to.buffer is not None and step.to.buffer.output:
            found.setdefault(step.to.buffer, []).append(len(steps))  # whoever runs the program reads it
    return found


def join(steps: list[TracedStep]) -> list[TracedStep]:
    """One step where two do: a function and the product with it; a matrix product and the sum with it."""
    made = {step.to.buffer: number for number, step in enumerate(steps) if step.to is not None}
    uses = _uses(steps)
    gone: set[int] = set()
    overwritten: set[Buffer] = set()  # a product was added to them
    for number, step in enumerate(steps):
        if step.kind is Kind.MULTIPLY:
            for one, other in ((step.x, step.y), (step.y, step.x)):
                assert one is not None and other is not None
                maker = made.get(one.buffer)
                if (
                    maker is None
                    or steps[maker].kind is not Kind.ACTIVATE
                    or steps[maker].b
                    or not one.whole
                    or uses[one.buffer] != [number]  # type: ignore[index]
                    or steps[maker].x.buffer in overwritten  # type: ignore[union-attr,operator]
                ):
                    continue
                before = steps[maker]
                uses[before.x.buffer].append(number)  # type: ignore[index,union-attr]
                step.kind, step.x, step.y, step.a, step.b = Kind.ACTIVATE, before.x, other, before.a, 1
                gone.add(maker)
                break
        elif step.kind is Kind.ADD and step.y is not None:
            for old, product in ((step.x, step.y), (step.y, step.x)):
                assert old is not None and product is not None and step.to is not None
                maker = made.get(product.buffer)
                if (
                    maker is None
                    or maker in gone
                    or steps[maker].kind is not Kind.PRODUCT
                    or not (old.whole and product.whole and step.to.whole)
                    or uses[product.buffer] != [number]  # type: ignore[index]
                    or old.buffer not in made
                    or made[old.buffer] > maker
                    or max(uses[old.buffer]) != number  # type: ignore[index]
                    or any(use >= maker for use in uses[old.buffer] if use != number)  # type: ignore[index]
                    or step.to.buffer.output  # type: ignore[union-attr]
                    or steps[maker].a
                ):
                    continue
                steps[maker].a = 1
                steps[maker].to = step.to
                step.to.buffer.joined = old.buffer  # type: ignore[union-attr]
                overwritten.add(old.buffer)  # type: ignore[arg-type]
                made[step.to.buffer] = maker
                gone.add(number)
                break
    return [step for number, step in enumerate(steps) if number not in gone]


_IN_PLACE = frozenset({Kind.ROPE, Kind.ACTIVATE, Kind.ADD, Kind.MULTIPLY, Kind.SCALE, Kind.RMS, Kind.LAYER})


def lay_out(traced: Traced) -> tuple[dict[Buffer, int], int]:
    """Where each buffer begins, in numbers a token (multiples of 16), and how many there are in all."""
    last: dict[Buffer, int] = {}
    for number, step in enumerate(traced.steps):
        for buffer in [*step.reads(), *([step.to.buffer] if step.to is not None and step.to.buffer else [])]:
            last[buffer.root] = number
    places: dict[Buffer, int] = {}
    free: list[tuple[int, int]] = []
    end = 0
    for number, step in enumerate(traced.steps):
        made = step.to.buffer.root if step.to is not None and step.to.buffer is not None else None
        dying = {each.root for each in step.reads() if last[each.root] == number and each.root in places}
        if made is not None and made not in places and not made.output:
            own = step.x.buffer.root if step.kind in _IN_PLACE and step.x and step.x.buffer and step.x.whole else None
            if own in dying and own is not None and own.width == made.width:
                places[made] = places[own]
                dying.remove(own)
            else:
                size = _size(made)
                fits = next((index for index, (_, room) in enumerate(free) if room >= size), None)
                if fits is None:
                    places[made], end = end, end + size
                else:
                    places[made], room = free[fits]
                    free[fits : fits + 1] = [(places[made] + size, room - size)] if room > size else []
            if last[made] == number:  # nobody reads it
                dying.add(made)
        for buffer in dying:
            free = _merged([*free, (places[buffer], _size(buffer))])
    return places, end


def _size(buffer: Buffer) -> int:
    return -(-buffer.width // 16) * 16


def _merged(free: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for place, room in sorted(free):
        if merged and merged[-1][0] + merged[-1][1] == place:
            merged[-1] = (merged[-1][0], merged[-1][1] + room)
        else:
            merged.append((place, room))
    return merged
