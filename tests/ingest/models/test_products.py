"""Faster products with weights: the same numbers by rounding, and nothing of them stays."""

import pytest
import torch
from torch import Tensor, nn

from ingest.models.products import faster_products


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24, bias=False)).requires_grad_(False)


@pytest.mark.parametrize("shape", [(24,), (1, 24), (3, 24), (2, 5, 24), (0, 24)])
def test_products_are_those_of_torch(shape: tuple[int, ...]) -> None:
    module, x = layers(), torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    module[0].register_forward_hook(lambda _module, _given, output: seen.append(output))
    expected = module(x)
    with torch.no_grad(), faster_products(module):
        assert "forward" in module[0].__dict__
        found = module(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-6)  # hooks see them


def test_nothing_of_them_stays() -> None:
    module = layers()
    with pytest.raises(KeyboardInterrupt), torch.no_grad(), faster_products(module):
        raise KeyboardInterrupt
    assert all("forward" not in layer.__dict__ for layer in module)


def test_where_they_cannot_be_had_products_are_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    module = layers()
    with faster_products(module):  # gradients are recorded
        assert "forward" not in module[0].__dict__
    with torch.no_grad(), faster_products(module.double()):
        assert "forward" not in module[0].__dict__
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with torch.no_grad(), faster_products(module.float()):
        assert "forward" not in module[0].__dict__
