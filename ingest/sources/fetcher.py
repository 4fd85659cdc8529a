"""Fetching ahead of the measuring: one thread gets the next checkpoints while this one is worked on.

    with Fetcher(source, refs) as fetcher:
        for fetched in fetcher:
            if fetched.error: ...      # recorded; the rest goes on
            else: family.load(fetched.ref, fetched.snapshot)

A snapshot is in use until the next one is asked for. Imports no torch.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from types import TracebackType

from archive.errors import NoSpace, PathscopeError
from ingest.family import CheckpointRef
from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source


@dataclass(frozen=True)
class Fetched:
    """A checkpoint's files, or why there are none: exactly one of the two."""

    ref: CheckpointRef
    snapshot: Snapshot | None = None
    error: PathscopeError | None = None


Waiting = tuple[CheckpointRef, Future[Fetched]]


class Fetcher:
    """Iterates over references in order, each with its files; failures are answers, not exceptions.

    ahead: how many checkpoints are fetched before they are asked for. Where the budget of the source cannot hold
    them and the one in use, they are fetched one at a time.
    """

    def __init__(self, source: Source, refs: Sequence[CheckpointRef], *, ahead: int = 1) -> None:
        """Nothing is fetched before the iteration begins."""
        if ahead < 0:
            raise ValueError(f"ahead is {ahead}; expected 0 or more")
        self.source = source
        self.refs = tuple(refs)
        self.ahead = ahead
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fetch")

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget what was not begun and stop what is under way."""
        self.source.abandon()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Fetched]:
        waiting: deque[Waiting] = deque()
        coming = iter(self.refs)
        try:
            for ref in islice(coming, self.ahead + 1):
                waiting.append((ref, self._thread.submit(self._get, ref)))
            while waiting:
                ref, future = waiting.popleft()
                fetched = future.result()
                if isinstance(fetched.error, NoSpace):
                    fetched = self._get_alone(ref, waiting)
                try:
                    yield fetched
                finally:
                    self._release(fetched)
                for further in islice(coming, 1):
                    waiting.append((further, self._thread.submit(self._get, further)))
        finally:
            self._give_up(waiting)

    def _get(self, ref: CheckpointRef) -> Fetched:
        try:
            return Fetched(ref, self.source.get(ref.repository, ref.revision))
        except (CheckpointNotAvailable, NoSpace) as error:
            return Fetched(ref, error=error)
        except Exception as error:  # one checkpoint's files must not cost the others
            reason = f"{type(error).__name__}: {error}"
            return Fetched(
                ref, error=CheckpointNotAvailable(ref.repository, ref.revision, reason, permanent=False)
            )

    def _get_alone(self, ref: CheckpointRef, waiting: deque[Waiting]) -> Fetched:
        """Once more, with nothing in use: what was fetched ahead gives way and is fetched again later."""
        others = [other for other, _ in waiting]
        self._give_up(waiting)
        fetched = self._get(ref)
        waiting.extend((other, self._thread.submit(self._get, other)) for other in others)
        return fetched

    def _give_up(self, waiting: deque[Waiting]) -> None:
        while waiting:
            _, future = waiting.pop()
            if not future.cancel():
                self.source.abandon()
                self._release(future.result())

    def _release(self, fetched: Fetched) -> None:
        if fetched.snapshot is not None:
            self.source.release(fetched.snapshot)
