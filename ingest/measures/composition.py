"""B16, B17: how much a later head reads of what an earlier one writes: Q-, K- and V-composition of all pairs."""

from collections.abc import Callable

from ingest.applicable import NotApplicable
from ingest.mathematics.composition import MODES, LayerPair, Mode, composition
from ingest.measure import measure
from ingest.readings.circuit import CircuitWeights

READS: dict[Mode, str] = {"q": "queries", "k": "keys", "v": "values"}


def _in(mode: Mode) -> Callable[[CircuitWeights], list[LayerPair]]:
    def composed(circuit: CircuitWeights) -> list[LayerPair]:
        layers = circuit.attention
        if len(layers) < 2:
            raise NotApplicable("the model has no later layer that could read what a head writes")
        return composition(layers, mode, dimension=circuit.n_directions)

    composed.__doc__ = f"""How much the {READS[mode]} of a later head read of what an earlier head writes, for all pairs.

    ‖M N‖ / (‖M‖ ‖N‖) with Frobenius norms, in [0, 1]; with it the root of its mean square when a random rotation
    stands between the two heads (baseline) and the distance of the squared score from that mean in standard
    deviations (z). Weights with LayerNorm folded in and centred. LayerNorm, positions and MLPs between the
    heads are left out; a high score is neither necessary nor enough for two heads to work together.
    """
    return composed


for _mode in MODES:
    measure(
        f"{_mode}_composition",
        scope="head pair",
        unit="1",
        bounds=(0.0, 1.0),
        direction="neither",
        citation="Elhage et al. 2021, A mathematical framework for transformer circuits (composition scores)",
        schedule="sparse",
        processing="fold_ln_center",
    )(_in(_mode))
