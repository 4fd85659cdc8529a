"""The Trainer of transformers, recorded: `Trainer(..., callbacks=[RecorderCallback(recorder)])`."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ingest.recording.recorder import Recorder

# what the Trainer calls things, and what they are called here; numbers with other names keep theirs
NAMES = {"loss": "loss", "eval_loss": "loss/eval", "grad_norm": "grad_norm", "learning_rate": "learning_rate"}
# about the machine, or about all of the training at once: no curve
NO_METRICS = (
    "epoch",
    "total_flos",
    "train_loss",
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
)


class RecorderCallback(TrainerCallback):
    """Logs what the Trainer logs. Its checkpoints are those that the Trainer saves: the recorder's folder is its output_dir.

    The Trainer's loss is the mean since it last logged, in nats; a recorder of family `hugging_face` fits.
    """

    def __init__(self, recorder: Recorder) -> None:
        """recorder: of the run that the Trainer trains; it is closed when training ends."""
        self.recorder = recorder

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write down the numbers of one report; only the first of several processes does."""
        if not state.is_world_process_zero:
            return
        numbers = {
            NAMES.get(name, name): float(value)
            for name, value in (logs or {}).items()
            if isinstance(value, int | float)
            and name not in NO_METRICS
            and not name.endswith(("_runtime", "_per_second"))
        }
        if numbers:
            self.recorder.log(state.global_step, numbers)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand in the rest and close the log."""
        if state.is_world_process_zero:
            self.recorder.close()
