"""Kernels of another processor or system, in a process of their own that QEMU, Wine or musl's loader runs.

A program's memory goes there as one image, and its results come back.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from ctypes import addressof, sizeof
from pathlib import Path
from typing import Any

import numpy as np

from turboprop.engines.native.library import LANES, LAYOUT_VERSION, AttentionShape, Matrix, Place, Run, Step
from turboprop.engines.native.steps import Kind

ARM_COMPILER = "aarch64-linux-gnu-gcc"
SIZES, RUN, PANEL, CHUNK, SCRATCH = range(5)
"""Kinds of requests, see emulated.c."""


def runs(folder: Path, compiler: Sequence[str], runner: Sequence[str]) -> bool:
    """Whether a program can be compiled and run, tried in an empty folder."""
    if any(shutil.which(name) is None for name in (compiler[0], *runner[:1])):
        return False
    program = folder / "nothing.exe"
    program.with_suffix(".c").write_text("int main(void) { return 0; }\n", "ascii")
    subprocess.run([*compiler, "-O2", str(program.with_suffix(".c")), "-o", str(program)], check=True)
    # No pipe: what Wine starts beside the program keeps one open.
    nothing = subprocess.DEVNULL
    return not subprocess.run([*runner, str(program)], stdout=nothing, stderr=nothing, check=False).returncode


def arm_runner() -> list[str]:
    """The command that runs a program of an ARM processor with Debian's libraries for it; its path is added."""
    if shutil.which(ARM_COMPILER) is None:
        return ["qemu-aarch64"]
    asked = [ARM_COMPILER, "-print-file-name=ld-linux-aarch64.so.1"]
    loader = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()).resolve()
    return ["qemu-aarch64", "-L", str(loader.parent.parent)]


class Emulated:
    """A library of kernels of another processor or system with the functions that Python calls."""

    def __init__(self, library: Path, compiler: Sequence[str], runner: Sequence[str]) -> None:
        self._name = str(library)
        driver = library.with_name("driver.exe")
        source = Path(__file__).with_name("emulated.c")
        flags = ["-O2", "-std=c11", "-D_GNU_SOURCE", "-I", str(library.parent)]
        # Windows looks for a library beside the program.
        flags += [] if library.suffix == ".dll" else [f"-Wl,-rpath,{library.parent}"]
        subprocess.run([*compiler, *flags, str(source), str(library), "-o", str(driver)], check=True)
        self._process = subprocess.Popen([*runner, str(driver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._turn = threading.Lock()
        *self._sizes, layout, supported = self._ask(7, SIZES)
        assert layout == LAYOUT_VERSION
        assert supported

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        assert self._process.wait() == 0
        self._process.stdout.close()

    def _ask(self, answers: int, *request: int) -> list[int]:
        with self._turn:
            self._send(np.array([*request, *[0] * (5 - len(request))], np.int64).tobytes())
            return np.frombuffer(self._receive(8 * answers), np.int64).tolist()

    def _send(self, data: bytes | bytearray) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _receive(self, count: int) -> bytes:
        assert self._process.stdout is not None
        found = self._process.stdout.read(count)
        assert len(found) == count, f"the emulated processor ended with {self._process.wait()}"
        return found

    def structure_sizes(self, sizes: Any) -> None:
        sizes[:] = self._sizes

    def panel_bytes(self, kind: int, inputs: int) -> int:
        return self._ask(1, PANEL, kind, inputs)[0]

    def cache_chunk_bytes(self, padded: int, exact: bool) -> int:
        return self._ask(1, CHUNK, padded, int(exact))[0]

    def attention_scratch_bytes(self, padded: int, longest: int) -> int:
        return self._ask(1, SCRATCH, padded, longest)[0]

    def team_new(self, threads: int) -> int:
        return threads

    def team_free(self, team: int) -> None:
        pass

    def run_program(self, reference: Any) -> int:
        run = reference._obj
        image = _Image(run, self.panel_bytes, self.cache_chunk_bytes)
        results = [(image.offsets[address], size) for address, size in image.results]
        header = [RUN, run.team, len(image.data), len(image.pointers), len(results)]
        with self._turn:
            self._send(np.array([*header, *np.ravel([*image.pointers, *results])], np.int64).tobytes())
            self._send(image.data)
            stopped = int(np.frombuffer(self._receive(8), np.int64)[0])
            for address, size in image.results:
                ctypes.memmove(address, self._receive(size), size)
        return stopped


class _Image:
    """All that a run points to, as one piece of memory that can lie anywhere.

    `pointers` are pairs of offsets: where one lies, and what it points to.
    """

    def __init__(
        self, run: Run, panel_bytes: Callable[[int, int], int], chunk_bytes: Callable[[int, bool], int]
    ) -> None:
        self.data = bytearray(sizeof(Run))
        ctypes.memmove((ctypes.c_char * sizeof(Run)).from_buffer(self.data), addressof(run), sizeof(Run))
        self.offsets: dict[int, int] = {}
        """By address, as this process has it."""
        self.pointers: list[tuple[int, int]] = []
        self.results: list[tuple[int, int]] = []
        """Addresses and bytes of what a run writes for the next one, or for whoever reads it."""
        steps = run.steps[: run.count]
        self._inputs(run)
        self._memory(run, steps)
        self._tables(run, steps, chunk_bytes)
        self._steps(run, steps, panel_bytes)

    def _room(self, size: int) -> int:
        """Zeros at the end; at which offset."""
        self.data += bytes(-len(self.data) % 64)
        begin = len(self.data)
        self.data += bytes(size)
        return begin

    def _put(self, address: int, size: int) -> int:
        """Copy memory; at which offset it is now."""
        if address not in self.offsets:
            begin = self.offsets[address] = self._room(size)
            self.data[begin:] = ctypes.string_at(address, size)
        return self.offsets[address]

    def _point(self, at: int, address: int | None, size: float) -> None:
        if address:
            self.pointers.append((at, self._put(address, int(size))))

    def _inputs(self, run: Run) -> None:
        blocks = ctypes.cast(run.block_begins, ctypes.POINTER(ctypes.c_int32))[run.sequences]
        counts = {
            **dict.fromkeys(("ids", "positions", "types"), run.tokens),
            **dict.fromkeys(("begins", "block_begins"), run.sequences + 1),
            "past": run.sequences,
            "seen": run.sequences,
            "blocks": blocks,
            "rows": run.picked,
        }
        for name, count in counts.items():
            self._point(getattr(Run, name).offset, getattr(run, name), 4 * count)

    def _memory(self, run: Run, steps: Sequence[Step]) -> None:
        """What steps leave to those after them. What was there before is sent too: nothing may depend on it."""
        places: list[Place] = [place for step in steps for place in (step.x, step.y, step.to)]
        ends = [place.base + place.stride for place in places if place.base >= 0]
        ends += [step.to.base + step.to.stride * step.rows for step in steps if step.to.base >= 0]
        inner = max(ends) * run.capacity
        self._point(Run.arena.offset, run.arena, 4 * inner)
        outer = max((run.picked if step.picked else run.tokens) * step.to.stride for step in steps if step.to.base < 0)
        self.results.append((run.output, 4 * outer))
        self._point(Run.output.offset, run.output, 4 * outer)
        inputs = run.capacity * max((step.a * step.rows for step in steps if step.kind == Kind.QUANTIZE), default=0)
        for name, each in (("values", 1.0), ("scales", 4 / 32), ("offsets", 4 / 16), ("sums", 4 / 32)):
            self._point(getattr(Run, name).offset, getattr(run, name), inputs * each)

    def _tables(self, run: Run, steps: Sequence[Step], chunk_bytes: Callable[[int, bool], int]) -> None:
        rotations = {
            step.d: (run.rotations[step.d], 4 * run.tokens * step.b) for step in steps if step.kind == Kind.ROPE
        }
        shapes = [AttentionShape.from_address(step.detail) for step in steps if step.kind == Kind.STORE]
        largest: dict[int, int] = {}  # layers may share one
        for shape in shapes:
            size = run.cache_blocks * shape.kv_heads * chunk_bytes(shape.padded, bool(shape.exact))
            largest[run.caches[shape.layer]] = max(size, largest.get(run.caches[shape.layer], 0))
        self.results += largest.items()
        caches = {shape.layer: (run.caches[shape.layer], largest[run.caches[shape.layer]]) for shape in shapes}
        self._list(Run.rotations.offset, rotations)
        self._list(Run.caches.offset, caches)

    def _list(self, at: int, entries: Mapping[int, tuple[int, int]]) -> None:
        """A list of pointers; `entries` are addresses and bytes by place in it."""
        if entries:
            begin = self._room(8 * (max(entries) + 1))
            self.pointers.append((at, begin))
            for number, (address, size) in entries.items():
                self._point(begin + 8 * number, address, size)

    def _steps(self, run: Run, steps: Sequence[Step], panel_bytes: Callable[[int, int], int]) -> None:
        begin = self._put(addressof(run.steps.contents), run.count * sizeof(Step))
        self.pointers.append((Run.steps.offset, begin))
        for number, step in enumerate(steps):
            at = begin + number * sizeof(Step)
            self._point(at + Step.weight.offset, step.weight, 4 * self._weight_rows(run, step) * step.width)
            self._point(at + Step.bias.offset, step.bias, 4 * step.width)
            if step.kind in (Kind.PRODUCT, Kind.TOKENS, Kind.EXPERTS):
                count = step.a if step.kind == Kind.EXPERTS else 1
                self._point(at + Step.detail.offset, step.detail, count * sizeof(Matrix))
                for of in range(count):
                    matrix = Matrix.from_address(step.detail + of * sizeof(Matrix))
                    there = self.offsets[step.detail] + of * sizeof(Matrix)
                    panels = -(-matrix.outputs // (2 * LANES)) * panel_bytes(matrix.kind, matrix.inputs)
                    self._point(there + Matrix.panels.offset, matrix.panels, panels)
                    self._point(there + Matrix.bias.offset, matrix.bias, 4 * matrix.outputs)
            elif step.detail:
                self._point(at + Step.detail.offset, step.detail, sizeof(AttentionShape))

    @staticmethod
    def _weight_rows(run: Run, step: Step) -> float:
        """Rows of `width` numbers of a step's weight."""
        if step.kind == Kind.RMS:
            return step.a / step.width
        if step.kind != Kind.TABLE:
            return 1
        numbers = ctypes.cast(run.types if step.b else run.positions, ctypes.POINTER(ctypes.c_int32))
        return 1 + (max(numbers[: run.tokens]) if numbers else 0) + (0 if step.b else step.a)
