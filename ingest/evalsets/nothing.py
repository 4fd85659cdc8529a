"""An eval set of nothing, for measures that look at weights only."""

import numpy as np

from archive.records import NO_ENCODING
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.sequences import Sequences
from ingest.evalsets.tokenizing import ByteTokenizer

_TOKENIZER = ByteTokenizer.make()
NOTHING = FrozenEvalSet(
    encoding=NO_ENCODING,
    tokenizer=_TOKENIZER.record,
    vocabulary=_TOKENIZER.vocabulary,
    sequences=Sequences.of([np.zeros(1, dtype=np.int32)]),
)
