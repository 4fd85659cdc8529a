# Written by `make docs`.

from archive.committer import commit_inbox as commit_inbox
from archive.create import ensure_archive as ensure_archive
from archive.errors import PathscopeError as PathscopeError
from archive.records import Checkpoint as Checkpoint
from archive.records import Encoding as Encoding
from archive.records import Family as Family
from archive.records import Measure as Measure
from archive.records import Part as Part
from archive.records import Provenance as Provenance
from archive.records import Quantity as Quantity
from archive.records import Run as Run
from archive.records import Source as Source
from archive.records import SourceFile as SourceFile
from archive.shard import ShardBuilder as ShardBuilder
from archive.store import Archive as Archive
from archive.store import open_archive as open_archive
from ingest.importers.base import Importer as Importer
from ingest.importers.base import importer as importer
from ingest.measure import NotApplicable as NotApplicable
from ingest.measure import measure as measure
from ingest.models.loaded import Activations as Activations
from ingest.models.loaded import LoadedModel as LoadedModel
from ingest.task import Task as Task
from ingest.task import task as task
from queries.benchmark_curves import benchmark_curves as benchmark_curves
from queries.head_score_history import head_score_history as head_score_history
from queries.head_scores import head_scores as head_scores
from queries.loss_curves import loss_curves as loss_curves
from queries.registry import query as query
from queries.results import Answer as Answer
from queries.transition_times import transition_times as transition_times
from queries.variance_components import variance_components as variance_components

__version__: str
