"""Programs: threads, sizes, interruption, and what is left when they are closed."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.native.programs import MemoryWeights, given, make
from turboprop.architectures.ops import Attention, Rope
from turboprop.engines.native.library import BLOCK, counter_bytes
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.program import Program
from turboprop.engines.native.steps import Value
from turboprop.engines.step import StepBatch
from turboprop.errors import EngineError

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
WIDTH, DEEP, VOCABULARY = 96, 200, 70
HOW = Attention(6, 2, 16, 0.25, causal=True)


def weights() -> MemoryWeights:
    random = np.random.default_rng(0)
    shapes = {
        "tokens": (VOCABULARY, WIDTH),
        **{f"qkv{layer}": (160, WIDTH) for layer in (0, 1)},
        **{f"out{layer}": (WIDTH, WIDTH) for layer in (0, 1)},
        **{f"up{layer}": (2 * DEEP, WIDTH) for layer in (0, 1)},
        **{f"down{layer}": (WIDTH, DEEP) for layer in (0, 1)},
        "norm": (WIDTH,),
    }
    return MemoryWeights({name: random.standard_normal(shape) / 10 for name, shape in shapes.items()})


def build(ops: NativeOps) -> Value:
    """A small language model of two layers."""
    x, rope = ops.tokens("tokens"), Rope(10000.0, 16)
    for layer in (0, 1):
        y = ops.linear(ops.rms_norm(x, "norm", 1e-6), f"qkv{layer}")
        q, k, v = ops.split(y, (96, 32, 32))
        y = ops.attention(ops.rope(q, 16, rope), ops.rope(k, 16, rope), v, HOW)
        x = ops.add(x, ops.linear(y, f"out{layer}"))
        gate, up = ops.split(ops.linear(ops.rms_norm(x, "norm", 1e-6), f"up{layer}"), (DEEP, DEEP))
        x = ops.add(x, ops.linear(ops.multiply(ops.activation(gate, "silu"), up), f"down{layer}"))
    return ops.linear(ops.rms_norm(x, "norm", 1e-6), "tokens")


def text(length: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, length)


def inputs(*lengths: int) -> StepBatch:
    ids = np.concatenate([text(length, number) for number, length in enumerate(lengths)])
    return given(np.concatenate([np.arange(length) for length in lengths]), ids=ids, lengths=lengths)


def run(program: Program, what: StepBatch) -> NDArray[np.float32]:
    found = program.run(what)
    assert found is not None
    return found


def test_any_number_of_threads_gives_the_same_bits() -> None:
    found = []
    for threads in (1, 2, 5):
        program = make(build, weights(), threads=threads)
        found.append([run(program, inputs(*lengths)) for lengths in ((3,), (150, 1, 40), (1,), (700,))])
        program.close()
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shared", [True, False])
def test_runs_that_grow_and_shrink(shared: bool) -> None:
    sizes = [(1,), (40,), (2, 3), (500, 1), (7,), (90, 90, 90), (1,), (800,), (33,)]
    program = make(build, weights(), blocks=1 if shared else 64, shared=shared)
    again = [run(program, inputs(*lengths)) for lengths in sizes]
    program.close()
    for lengths, found in zip(sizes, again, strict=True):
        fresh = make(build, weights())
        np.testing.assert_array_equal(found, run(fresh, inputs(*lengths)))
        fresh.close()


def test_a_prompt_in_steps_equals_the_prompt_at_once() -> None:
    ids = text(150)
    blocks = [[3, 0, 7, 1, 5]]
    program = make(build, weights(), blocks=8)
    whole = run(program, given(range(150), ids=ids, blocks=blocks))
    parts, start = [], 0
    for count in (1, 5, 26, 32, 33, 1, 52):
        positions = range(start, start + count)
        parts.append(run(program, given(positions, ids=ids[start : start + count], past=[start], blocks=blocks)))
        start += count
    program.close()
    assert start == 150
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_an_interrupted_run_ends_early_and_the_next_is_right() -> None:
    program = make(build, weights(), blocks=20_000 // BLOCK)
    wanted = run(program, inputs(64))
    long, ended = inputs(20_000), threading.Event()
    found: list[object] = []

    def compute() -> None:
        found.append(program.run(long))
        ended.set()

    program.interrupt()  # nothing runs: it does nothing
    for _ in range(3):
        ended.clear()
        thread = threading.Thread(target=compute)
        thread.start()
        while not ended.wait(0.02):
            program.interrupt()
        thread.join()
        assert found.pop() is None
        counters = program._counters.view(np.int64).reshape(-1, counter_bytes() // 8)
        assert counters[-1].sum() == 0  # the last step had not begun
        np.testing.assert_array_equal(run(program, inputs(64)), wanted)
    program.close()


def test_two_programs_at_once() -> None:
    sizes = [(5,), (300,), (1, 1, 1), (64, 31)] * 15
    wanted = {}
    program = make(build, weights())
    for lengths in sizes:
        wanted[lengths] = run(program, inputs(*lengths))
    program.close()
    wrong: list[object] = []

    def compute(offset: int) -> None:
        own = make(build, weights(), threads=2)
        for lengths in sizes[offset:] + sizes[:offset]:
            if not np.array_equal(run(own, inputs(*lengths)), wanted[lengths]):
                wrong.append(lengths)
        own.close()

    threads = [threading.Thread(target=compute, args=(offset,)) for offset in (0, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_two_threads_take_turns_at_one_program() -> None:
    program = make(build, weights(), shared=True)
    wanted = {length: run(program, inputs(length)) for length in (3, 200)}
    wrong: list[int] = []

    def compute(length: int) -> None:
        for _ in range(30):
            if not np.array_equal(run(program, inputs(length)), wanted[length]):
                wrong.append(length)

    threads = [threading.Thread(target=compute, args=(length,)) for length in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    program.close()
    assert not wrong


def test_a_closed_program_says_so() -> None:
    program = make(build, weights())
    run(program, inputs(3))
    program.close()
    program.close()
    with pytest.raises(EngineError, match="closed"):
        program.run(inputs(3))


def test_closing_waits_for_what_runs() -> None:
    program = make(build, weights(), blocks=4000 // BLOCK)
    begun, found = threading.Event(), []

    def compute() -> None:
        while True:
            begun.set()
            try:
                found.append(run(program, inputs(4000)))
            except EngineError:
                return

    thread = threading.Thread(target=compute)
    thread.start()
    begun.wait()
    program.close()
    thread.join()
    assert all(np.array_equal(each, found[0]) for each in found)


def test_tokens_beyond_the_tables_are_refused() -> None:
    random = np.random.default_rng(0)
    tensors = {"tokens": random.standard_normal((10, 8)), "p": np.ones((12, 8)), "t": np.ones((1, 8))}
    memory = MemoryWeights(tensors)
    program = make(
        lambda ops: ops.add(ops.add(ops.tokens("tokens"), ops.positions("p", 2)), ops.types("t")), memory, blocks=1
    )
    run(program, given([9], ids=[9], types=[0]))
    for positions, ids, types in (([9], [10], [0]), ([9], [-1], [0]), ([10], [9], [0]), ([0], [0], [1])):
        with pytest.raises(EngineError, match="do not belong together"):
            program.run(given(positions, ids=ids, types=types))
    program.close()
    with pytest.raises(TypeError, match="without a row"):
        make(lambda ops: ops.positions("p", 12), memory)


@LINUX
def test_loading_and_closing_leaves_nothing() -> None:
    """200 rounds: as many threads as before, and no growth after the first hundred."""

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1])

    memory, what = weights(), inputs(200, 3)
    threads = len(list(Path("/proc/self/task").iterdir()))
    sizes = []
    for number in range(200):
        program = make(build, memory, threads=3, blocks=32)
        run(program, what)
        if number % 2:
            program.close()
        del program  # one that nobody closed ends with its last user
        gc.collect(0)
        sizes.append(pages())
    assert len(list(Path("/proc/self/task").iterdir())) <= threads  # those of a test before may end meanwhile
    assert np.mean(sizes[-20:]) - np.mean(sizes[100:120]) < 256  # pages: 1 MB


@LINUX
def test_a_forked_process_goes_on_alone() -> None:
    """The helping threads stay with the parent: the child computes without them, closes and ends in order."""
    script = """
import os, signal, sys
import numpy as np
from engines.native.test_program import build, inputs, make, run, weights
program = make(build, weights(), threads=4)
wanted = run(program, inputs(300))
child = os.fork()
if child == 0:
    signal.alarm(60)
    same = np.array_equal(run(program, inputs(300)), wanted)
    program.close()
    sys.exit(0 if same else 3)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(run(program, inputs(300)), wanted)
"""
    paths = [str(Path(__file__).parents[2]), *sys.path]
    command = [sys.executable, "-W", "ignore", "-c", f"import sys; sys.path[:0] = {paths!r}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
