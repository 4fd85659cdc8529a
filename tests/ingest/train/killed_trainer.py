"""A worker that may kill itself with SIGKILL after an update; run as a script by training.train_in_another_process."""

import json
import os
import signal
import sys
from pathlib import Path

from ingest.train import trainer
from ingest.train.spec import Seeds, TrainSpec


def main(arguments):
    """Train, saving after the updates in `saves`; after `die_at`, if given, die without any chance to clean up."""
    spec = TrainSpec.model_validate_json(arguments["spec"])
    runs = [(name, Seeds(**seeds)) for name, seeds in arguments["runs"]]

    def on_step(step):
        trainer.SAVE_SECONDS = -1.0 if step + 1 in arguments["saves"] else 60.0
        if step == arguments["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.train_batch(spec, runs, Path(arguments["folder"]), should_stop=lambda: False, on_step=on_step)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
