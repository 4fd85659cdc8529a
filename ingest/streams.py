"""Random numbers that are a pure function of (seed, purpose, step): no state to save, any step replayed.

NumPy freezes the output of `RandomState` and `Philox` for good (its policy NEP 19), so a seed means the
same run under every NumPy version; `Generator` and torch promise no such thing.
"""

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *path: int) -> np.random.RandomState:
    """An independent random stream for each combination of seed, purpose and path (step, epoch, ...).

    purpose: a short name such as "split" or "init.embed.W_E".
    """
    key = hashlib.sha256(repr((purpose, seed, *path)).encode()).digest()[:16]
    return np.random.RandomState(np.random.Philox(key=np.frombuffer(key, dtype="<u8")))
