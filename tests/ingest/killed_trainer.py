"""A worker that kills itself with SIGKILL after an update; run as a script by test_trainer."""

import json
import os
import signal
import sys
from pathlib import Path

from ingest.train.spec import Seeds, TrainSpec
from ingest.train.trainer import train_batch


def main(arguments):
    """Train until `die_at` updates, then die without any chance to clean up."""
    spec = TrainSpec.model_validate_json(arguments["spec"])
    runs = [(name, Seeds(**seeds)) for name, seeds in arguments["runs"]]

    def on_step(step):
        if step == arguments["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    train_batch(spec, runs, Path(arguments["folder"]), should_stop=lambda: False, on_step=on_step)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
