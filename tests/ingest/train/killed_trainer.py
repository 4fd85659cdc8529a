"""A worker that may kill itself with SIGKILL after an update: a process for one, or a fork of it for each of many.

Run as a script by training.train_in_another_process, and by `trainers_in_forks`.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

import torch._dynamo  # noqa: F401 # the first optimizer of a process imports it, and forks should find it there

from ingest.train import trainer
from ingest.train.spec import Seeds, TrainSpec

ROOT = Path(__file__).parents[3]


def main(arguments):
    """Train, saving after the updates in `saves`; after `die_at`, if given, die without any chance to clean up."""
    spec = TrainSpec.model_validate_json(arguments["spec"])
    runs = [(name, Seeds(**seeds)) for name, seeds in arguments["runs"]]

    def on_step(step):
        trainer.SAVE_SECONDS = -1.0 if step + 1 in arguments["saves"] else 60.0
        if step == arguments["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.train_batch(spec, runs, Path(arguments["folder"]), should_stop=lambda: False, on_step=on_step)


def serve():
    """Answer each line of arguments with the exit code of a fork that trains with them.

    This process has imported everything and computed nothing, so a fork of it is a process that has just started.
    """
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                main(json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@contextmanager
def trainers_in_forks():
    """Gives a function that trains as training.train_in_another_process does, without seconds of imports each time."""
    command = [sys.executable, "-m", "tests.ingest.train.killed_trainer"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def train(spec, named, folder, *, die_at, saves):
            arguments = {
                "spec": spec.model_dump_json(),
                "runs": [[name, own.model_dump()] for name, own in named],
                "folder": str(folder),
                "die_at": die_at,
                "saves": list(saves),
            }
            print(json.dumps(arguments), file=server.stdin, flush=True)
            return int(server.stdout.readline())

        yield train


if __name__ == "__main__":
    if sys.argv[1:]:
        main(json.loads(sys.argv[1]))
    else:
        serve()
