"""The log file beside the archive: a line per finished unit of work, so that cron may be silent."""

import logging
import time
from pathlib import Path


class Journal:
    """Appends to `logs/ingest-YYYY-MM-DD.log`; a line is one write, so processes may share the file."""

    def __init__(self, logs: Path, study: str) -> None:
        self.logs = logs
        self.study = study

    def line(self, text: str) -> None:
        """Add one line with time and study. A log that cannot be written never stops the work."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            with (self.logs / f"ingest-{stamp[:10]}.log").open("a", encoding="utf-8") as handle:
                handle.write(f"{stamp} {self.study}: {' '.join(text.split())}\n")
        except OSError as error:
            logging.getLogger(__name__).warning("cannot write a log line into %s: %s", self.logs, error)
