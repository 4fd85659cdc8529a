"""Who is at work and what waits, in sentences."""

from collections.abc import Iterator, Mapping

from archive.holders import Holder
from archive.upkeep.waiting import Queue
from archive.upkeep.words import age_words, size_words
from ui.models.text import count, plural, shorten

MOST_REFUSED = 20
FIRST_RESULTS = (
    "Nothing of it is in the archive yet. The first results come in when the first unit of work is done: after seconds for "
    "small models, minutes for large ones. This page looks every few seconds and shows them by itself."
)


def read_words(seconds: float, busy: str, every: float | None) -> str:
    """When the numbers were read, why not later, and when next."""
    read = "just now" if seconds < 1.5 else f"{age_words(seconds)} ago"
    again = "It does not look again by itself." if every is None else f"It looks again every {every:.0f} s."
    # it looks at the file each time, and reads it where it has changed
    why = busy or ("unchanged since" if every is not None and seconds > every else "")
    return f"Read from the archive {read}{f' ({why})' if why else ''}. {again}"


def holder_words(ingests: Mapping[str, Holder], writer: Holder | None) -> Iterator[str]:
    """A sentence for each process that says it is at work, or that did not live to say that it is not."""
    for study, holder in ingests.items():
        name = shorten(study, 60)
        if holder.alive:
            yield f"{name} is being ingested by {holder.words}."
        else:
            yield (
                f"{name} was being ingested by {holder.words}, which does not run on this machine: it was killed, or it runs on "
                "another machine. The same command goes on where it stopped."
            )
    if writer is not None and writer.alive:
        yield f"The archive is being written by {writer.words}."


def under_way(ingests: Mapping[str, Holder], writer: Holder | None, queue: Queue) -> list[str]:
    """Sentences on what somebody is at now and what waits to be entered; none where nobody is at anything."""
    if not any(holder.alive for holder in (*ingests.values(), *filter(None, [writer]))):
        return []
    return [*holder_words(ingests, writer), *queue_words(queue)]


def queue_words(queue: Queue) -> Iterator[str]:
    """What waits in the inbox; nothing where nothing does."""
    if queue.n_shards:
        oldest = "" if queue.oldest_seconds is None else f", the oldest for {age_words(queue.oldest_seconds)}"
        yield f"{plural(queue.n_shards, 'unit')} of results ({size_words(queue.n_bytes)}) wait in the inbox{oldest}."


def refused_words(queue: Queue) -> list[tuple[str, str]]:
    """(unit, reason) of what was set aside, the newest first; then how many more there are."""
    newest = list(reversed(queue.refused))
    found = [(r.shard, shorten(r.reason, 600) or "no reason was kept") for r in newest[:MOST_REFUSED]]
    if len(newest) > MOST_REFUSED:
        found.append(("…", f"{count(len(newest) - MOST_REFUSED)} more in the folder failed"))
    return found
