"""Which kind of call a study needs."""

from archive.layout import Layout
from ingest.load_study import LoadedRun, LoadStudy
from ingest.run.conduct import Call, Options, Watcher
from ingest.run.loading_call import LoadingCall
from ingest.run.training_call import TrainingCall
from ingest.study import PlannedRun, Study
from ingest.study_parts import AnyStudy


def call_of(
    study: AnyStudy, layout: Layout, options: Options, watcher: Watcher
) -> Call[PlannedRun] | Call[LoadedRun]:
    """The call that carries out a study."""
    if isinstance(study, LoadStudy):
        return LoadingCall(study, layout, options, watcher)
    if isinstance(study, Study):
        return TrainingCall(study, layout, options, watcher)
    raise TypeError(f"a study of unknown kind: {type(study).__name__}")
