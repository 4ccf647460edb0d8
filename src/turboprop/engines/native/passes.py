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
        if value is None or value.buffer in made:
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
        if step.to is not None and step.to.buffer.output:
            found.setdefault(step.to.buffer, []).append(len(steps))  # whoever runs the program reads it
    return found


def join(steps: list[TracedStep]) -> list[TracedStep]:
    """One step where two do: a function and the product with it; a matrix product and the sum with it."""
    return _join_sums(_join_functions(steps))


def _join_functions(steps: list[TracedStep]) -> list[TracedStep]:
    """A function and the product of its result, which nothing else reads, and another value: one step of both."""
    makers = {step.to.buffer: step for step in steps if step.to is not None and step.kind is Kind.ACTIVATE}
    uses = _uses(steps)
    gone: set[Buffer] = set()
    for number, step in enumerate(steps):
        if step.kind is not Kind.MULTIPLY:
            continue
        assert step.x is not None and step.y is not None
        for one, other in ((step.x, step.y), (step.y, step.x)):
            maker = makers.get(one.buffer)
            if maker is not None and one.whole and uses[one.buffer] == [number]:
                step.kind, step.x, step.y, step.a, step.b = Kind.ACTIVATE, maker.x, other, maker.a, 1
                gone.add(one.buffer)
                break
    return [step for step in steps if step.to is None or step.to.buffer not in gone]


def _join_sums(steps: list[TracedStep]) -> list[TracedStep]:
    """A matrix product and the sum of it, which nothing else reads, and an older value: one step that adds to this.

    Nothing may read the older value from the product on but the sum.
    """
    made = {step.to.buffer: number for number, step in enumerate(steps) if step.to is not None}
    uses = _uses(steps)
    gone: set[int] = set()
    for number, step in enumerate(steps):
        if step.kind is not Kind.ADD or step.y is None:
            continue
        assert step.x is not None and step.to is not None
        for old, product in ((step.x, step.y), (step.y, step.x)):
            maker = made.get(product.buffer)
            if (
                maker is not None
                and maker not in gone
                and steps[maker].kind is Kind.PRODUCT
                and not steps[maker].a
                and old.whole
                and product.whole
                and step.to.whole
                and not step.to.buffer.output
                and uses[product.buffer] == [number]
                and made.get(old.buffer, maker) < maker
                and [use for use in uses[old.buffer] if use >= maker] == [number]
            ):
                steps[maker].a, steps[maker].to = 1, step.to
                step.to.buffer.joined = old.buffer
                made[step.to.buffer] = maker
                gone.add(number)
                break
    return [step for number, step in enumerate(steps) if number not in gone]


_IN_PLACE = frozenset({Kind.ROPE, Kind.ACTIVATE, Kind.ADD, Kind.MULTIPLY, Kind.SCALE, Kind.RMS, Kind.LAYER, Kind.CAP})


def lay_out(traced: Traced) -> tuple[dict[Buffer, int], int]:
    """Where each buffer begins, in numbers a token (multiples of 16), and how many there are in all."""
    last: dict[Buffer, int] = {}
    for number, step in enumerate(traced.steps):
        for buffer in [*step.reads(), *([step.to.buffer] if step.to is not None else [])]:
            last[buffer.root] = number
    places: dict[Buffer, int] = {}
    free: list[tuple[int, int]] = []
    end = 0
    for number, step in enumerate(traced.steps):
        made = step.to.buffer.root if step.to is not None else None
        dying = {each.root for each in step.reads() if last[each.root] == number and each.root in places}
        if made is not None and made not in places and not made.output:
            own = step.x.buffer.root if step.kind in _IN_PLACE and step.x and step.x.whole else None
            if own in dying and own is not None and (own.width, own.rows) == (made.width, made.rows):
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
    return -(-buffer.width * buffer.rows // 16) * 16


def _merged(free: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for place, room in sorted(free):
        if merged and merged[-1][0] + merged[-1][1] == place:
            merged[-1] = (merged[-1][0], merged[-1][1] + room)
        else:
            merged.append((place, room))
    return merged
