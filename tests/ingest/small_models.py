"""Small models for tests: random weights that exercise every path, with biases and scales away from 0 and 1."""

import torch

from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.models.small import initial_rows, stack_views
from ingest.streams import stream


def random_rows(
    layout: Layout, n_runs: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """Initial rows plus noise on all parameters, so that no bias is 0 and no scale 1; padding stays 0."""
    rows = initial_rows(layout, range(seed, seed + n_runs), dtype)
    noise = stream(seed, "test.noise").standard_normal((n_runs, layout.n_params))
    rows[:, : layout.n_params] += torch.from_numpy(0.3 * noise).to(dtype)
    return rows


def random_model(layout: Layout, seed: int = 0, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """One loaded model with random weights."""
    views = stack_views(layout, random_rows(layout, 1, seed, dtype))
    return LoadedModel(
        run="a", step=0, layout=layout, weights={name: view[0] for name, view in views.items()}
    )
