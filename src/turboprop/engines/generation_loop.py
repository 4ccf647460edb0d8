"""Many generations through one model: each step runs a few prompt tokens and one token of every answer.

A thread lives while there is work. Waiting generations are admitted in their order; where the cache is full
the youngest running one gives its blocks back and is computed again later (recomputation, Kwon et al. 2023,
arXiv 2309.06180). Nothing here knows how the model runs: `Forward` does.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.cache_blocks import CacheBlocks
from turboprop.engines.constraint import Constraint
from turboprop.engines.contract import Plan
from turboprop.engines.draft import Draft
from turboprop.engines.generation_contract import EngineFinish, GeneratedToken, TokenRequest
from turboprop.engines.prompt_lookup import MOST, PromptLookup
from turboprop.engines.sampler import Sampler
from turboprop.engines.step import Forward, StepBatch, StepInterruptedError
from turboprop.errors import EngineError

MOST_RUNNING = 64


class _Sequence:
    """One generation as the loop sees it."""

    def __init__(self, request: TokenRequest, sampler: Sampler, constraint: Constraint | None) -> None:
        self.constraint = constraint
        self.request = request
        self.sampler = sampler
        self.ids = list(request.ids)
        self.lookup = PromptLookup(self.ids)
        self.computed = 0
        self.blocks: list[int] = []
        self.cached = 0
        self.finish: EngineFinish | None = None
        self.cancelled = False
        self.queue: SimpleQueue[GeneratedToken | EngineError | int | None] = SimpleQueue()
        """What its reader is told: how many ids of the prompt are read, then the ids drawn, then the end."""

    @property
    def generated(self) -> int:
        return len(self.ids) - len(self.request.ids)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one step computes of one generation: its next `count` ids, and `guessed` ones behind the last."""

    sequence: _Sequence
    count: int
    guessed: list[int]
    guesser: PromptLookup | Draft


class LoopStream:
    """The reader's end of one generation; letting go of it cancels."""

    def __init__(self, loop: GenerationLoop, sequence: _Sequence) -> None:
        self._sequence = sequence
        self._ended = False
        self._next: GeneratedToken | EngineError | None = None
        """What `reading` came upon and the next call gives."""
        self._cancel = weakref.finalize(self, loop.cancel, sequence)
        self._cancel.atexit = False

    @property
    def finish(self) -> EngineFinish | None:
        return self._sequence.finish if self._ended else None

    @property
    def cached_tokens(self) -> int:
        return self._sequence.cached

    def __iter__(self) -> Iterator[GeneratedToken]:
        return self

    def __next__(self) -> GeneratedToken:
        if self._ended:
            raise StopIteration
        item, self._next = self._next, None
        if item is None:
            item = self._told()
        if isinstance(item, GeneratedToken) and not self._sequence.cancelled:
            return item
        self._ended = True
        if isinstance(item, EngineError):
            raise item
        raise StopIteration

    def reading(self) -> Iterator[int]:
        most = -1
        while not self._ended and self._next is None:
            item = self._sequence.queue.get()
            if not isinstance(item, int):
                self._next = item
                self._ended = item is None
            elif item > most:  # who gave its blocks back reads again
                most = item
                yield item

    def cancel(self) -> None:
        self._cancel()

    def _told(self) -> GeneratedToken | EngineError | None:
        while isinstance(item := self._sequence.queue.get(), int):
            pass
        return item


class GenerationLoop:
    """Runs the generations of one model. `context` bounds the tokens of one, prompt and answer together, and
    `plan` those of prompts in one step."""

    def __init__(
        self, forward: Forward, blocks: CacheBlocks, context: int, vocabulary: int, name: str, plan: Plan
    ) -> None:
        self._forward = forward
        self._blocks = blocks
        self._context = context
        self._vocabulary = vocabulary
        self._name = name
        self._plan = plan
        self.draft: Draft | None = None
        """Who guesses what prompt and answer do not have, while one answer is written alone."""
        self._lock = threading.RLock()  # a stream may be let go of, and so cancelled, wherever Python collects
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._computing: list[_Sequence] = []
        """Whom the running step is for."""
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, request: TokenRequest, constraint: Constraint | None = None) -> LoopStream:
        """Queue a generation; its prompt fits the context."""
        sampler = Sampler(request.sampling, request.ids, self._vocabulary, request.logprobs)
        sequence = _Sequence(request, sampler, constraint)
        with self._lock:
            if self._closed:
                raise EngineError("this model is closed; load it again")
            self._waiting.append(sequence)
            if self._thread is None:
                # Not a daemon: an interpreter that ends under a running inference crashes.
                self._thread = threading.Thread(target=self._run, name=f"generate {self._name}")
                self._thread.start()
        return LoopStream(self, sequence)

    def cancel(self, sequence: _Sequence) -> None:
        """End a generation: its reader is woken now. Its blocks are free after the running step, which ends early
        where it is for nobody else."""
        with self._lock:
            if sequence.finish is not None:
                return
            sequence.finish = "cancelled"
            sequence.cancelled = True
            sequence.queue.put(None)
            if sequence in self._computing and all(each.finish is not None for each in self._computing):
                self._forward.interrupt()
                if self.draft is not None:
                    self.draft.interrupt()

    def close(self) -> None:
        """Cancel what runs and wait for the thread to end."""
        with self._lock:
            self._closed = True
            sequences, thread = [*self._running, *self._waiting], self._thread
        for sequence in sequences:
            self.cancel(sequence)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                for sequence in [each for each in self._running if each.finish is not None]:
                    self._let_go(sequence)
                # The interpreter is ending and waits for this thread; nobody reads any more.
                if not threading.main_thread().is_alive():
                    self._end_all("cancelled")
                self._admit()
                if not self._running:
                    self._thread = None
                    return
                running = list(self._running)
            try:
                self._step(running)
            except EngineError as error:
                self._fail(error)
            except Exception as error:
                self._fail(EngineError(f"generating with {self._name} failed: {error!r}"))

    def _admit(self) -> None:
        """Move waiting generations in while the cache has room for their prompts and a block of answer each."""
        while self._waiting and len(self._running) < MOST_RUNNING:
            sequence = self._waiting[0]
            if sequence.finish is not None:
                self._waiting.popleft()
                continue
            shared = self._blocks.prefix(sequence.ids)
            needed = len(sequence.ids) // self._blocks.size + 1 - len(shared)
            if needed > self._blocks.available and self._running:
                self._blocks.release(shared)
                return
            self._waiting.popleft()
            sequence.blocks = shared
            sequence.computed = len(shared) * self._blocks.size
            if not sequence.generated:
                sequence.cached = sequence.computed
                sequence.queue.put(sequence.computed)
            self._running.append(sequence)

    def _step(self, running: list[_Sequence]) -> None:
        answering = [each for each in running if each.computed == len(each.ids) - 1]
        reading = [each for each in running if each.computed < len(each.ids) - 1]
        budget = self._plan.prompt_tokens_beside if answering else self._plan.prompt_tokens
        guesses = 0 if reading else MOST // len(answering)
        chosen: list[_Part] = []
        for sequence in answering + reading:
            count = min(len(sequence.ids) - sequence.computed, budget if sequence in reading else 1)
            if sequence.finish is not None or sequence not in self._running or count == 0:
                continue
            if not self._make_room(sequence, sequence.computed + count):
                continue
            if sequence in reading:
                budget -= count
            guessed, guesser = self._guess(sequence, guesses, alone=len(answering) == 1)
            chosen.append(_Part(sequence, count, guessed, guesser))
        chosen = [part for part in chosen if part.sequence in self._running and part.sequence.finish is None]
        if not chosen:
            return
        with self._lock:
            self._computing = [part.sequence for part in chosen]
        try:
            logits = self._forward(_batch(chosen))
        except StepInterruptedError:
            return
        finally:
            with self._lock:
                self._computing = []
        row = 0
        for part in chosen:
            self._advance(part.sequence, part.count)
            if not part.sequence.generated:
                part.sequence.queue.put(part.sequence.computed)
            if part.sequence.computed == len(part.sequence.ids):
                self._answer(part, logits[row : row + 1 + len(part.guessed)])
                row += 1 + len(part.guessed)

    def _guess(self, sequence: _Sequence, most: int, *, alone: bool) -> tuple[list[int], PromptLookup | Draft]:
        """Ids that may come next, as many as the answer, the context and the blocks left have room for; and who guessed
        them."""
        room = min(sequence.request.max_tokens - sequence.generated, self._context - len(sequence.ids)) - 1
        most = min(most, room)
        # A constraint would need a mask for each guess.
        if most < 1 or sequence.constraint is not None or not sequence.request.lookup:
            return [], sequence.lookup
        guesser: PromptLookup | Draft = sequence.lookup
        guessed = sequence.lookup.guess(most)
        if not guessed and alone and self.draft is not None:
            guesser, guessed = self.draft, self._drafted(self.draft, sequence, most)
        needed = -(-(len(sequence.ids) + len(guessed)) // self._blocks.size) - len(sequence.blocks)
        if needed > 0 and needed + len(self._running) > self._blocks.available:  # nobody gives way to a guess
            return [], guesser
        sequence.blocks += [self._blocks.take() for _ in range(needed)]
        return guessed, guesser

    def _drafted(self, draft: Draft, sequence: _Sequence, most: int) -> list[int]:
        with self._lock:
            self._computing = [sequence]
        try:
            return draft.guess(sequence.ids, most)
        except StepInterruptedError:
            return []
        finally:
            with self._lock:
                self._computing = []

    def _answer(self, part: _Part, logits: NDArray[np.float32]) -> None:
        """Draw the next id, and one more for each guess that was right. What was computed for the others is written
        over: it lies behind the ids that count."""
        sequence, kept = part.sequence, 0
        for guess, row in zip([*part.guessed, None], logits, strict=True):
            drawn = self._draw(sequence, row)
            if drawn is None or drawn != guess:
                break
            kept += 1
            self._advance(sequence, 1)
        part.guesser.told(len(part.guessed), kept)

    def _make_room(self, sequence: _Sequence, tokens: int) -> bool:
        """Take blocks for `tokens` tokens of a sequence, from the youngest others where none is left."""
        needed = -(-tokens // self._blocks.size) - len(sequence.blocks)
        while needed > self._blocks.available:
            youngest = self._running[-1]
            with self._lock:
                self._running.remove(youngest)
                self._blocks.release(youngest.blocks)
                youngest.blocks, youngest.computed = [], 0
                self._waiting.appendleft(youngest)
            if youngest is sequence:
                return False
        sequence.blocks += [self._blocks.take() for _ in range(needed)]
        return True

    def _advance(self, sequence: _Sequence, count: int) -> None:
        """Count what was computed, and let others share the blocks that are full now."""
        size = self._blocks.size
        full = sequence.computed // size
        sequence.computed += count
        for number in range(full, sequence.computed // size):
            before = sequence.blocks[number - 1] if number else None
            ids = sequence.ids[number * size : (number + 1) * size]
            self._blocks.remember(before, sequence.blocks[number], ids)

    def _draw(self, sequence: _Sequence, logits: NDArray[np.float32]) -> int | None:
        """The id that was drawn; None where the generation ended with it."""
        if not np.isfinite(logits.max()):
            raise EngineError(f"{self._name} computed values that are not finite; its weights may be damaged")
        finish: EngineFinish | None = None
        constraint = sequence.constraint
        try:
            token = sequence.sampler.draw(logits, constraint.allowed() if constraint else None)
            if constraint:
                constraint.accept(token.id)
        except EngineError as error:  # its own, and no other generation's
            with self._lock:
                sequence.finish = sequence.finish or "cancelled"
                sequence.queue.put(error)
            return None
        if token.id in sequence.request.stop_ids:
            finish = "stop"
        else:
            sequence.ids.append(token.id)
            if sequence.generated >= sequence.request.max_tokens or len(sequence.ids) >= self._context:
                finish = "length"
            elif constraint and constraint.complete:
                finish = "stop"
        with self._lock:
            if sequence.finish is not None:  # cancelled meanwhile
                return None
            if token.id not in sequence.request.stop_ids:
                sequence.queue.put(token)
            if finish is not None:
                sequence.finish = finish
                sequence.queue.put(None)
        return token.id if finish is None else None

    def _let_go(self, sequence: _Sequence) -> None:
        self._running.remove(sequence)
        self._blocks.release(sequence.blocks)
        sequence.blocks = []

    def _end_all(self, finish: EngineFinish) -> None:
        for sequence in [*self._running, *self._waiting]:
            if sequence.finish is None:
                sequence.finish = finish
                sequence.queue.put(None)
        for sequence in list(self._running):
            self._let_go(sequence)
        self._waiting.clear()

    def _fail(self, error: EngineError) -> None:
        """What runs ends with the error; what waits is tried."""
        with self._lock:
            for sequence in list(self._running):
                if sequence.finish is None:
                    sequence.finish = "cancelled"
                    sequence.queue.put(error)
                self._let_go(sequence)


def _batch(chosen: list[_Part]) -> StepBatch:
    ids: list[int] = []
    positions: list[NDArray[np.int32]] = []
    rows: list[int] = []
    begins, past, blocks, block_begins = [0], [], [], [0]
    for part in chosen:
        sequence = part.sequence
        start, end = sequence.computed, sequence.computed + part.count
        ids += sequence.ids[start:end] + part.guessed
        positions.append(np.arange(start, end + len(part.guessed), dtype=np.int32))
        past.append(start)
        begins.append(len(ids))
        blocks += sequence.blocks
        block_begins.append(len(blocks))
        if end == len(sequence.ids):
            rows += range(len(ids) - 1 - len(part.guessed), len(ids))
    # A step in the middle of a prompt asks for one row nobody reads: no kernel is made for an empty product.
    arrays = (np.array(values, np.int32) for values in (begins, past, blocks, block_begins, rows or [0]))
    return StepBatch(np.array(ids, np.int32), np.concatenate(positions), *arrays)
