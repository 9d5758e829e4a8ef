"""A DCGAN from elsewhere becomes a generator of ours, or is refused with what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from adgan_cli.engine.models.import_dcgan import import_generator
from adgan_cli.errors import ModelFileError

State = dict[str, torch.Tensor]


class Dcgan(nn.Module):
    """The generator of PyTorch's own DCGAN example, with any number of layers."""

    def __init__(self, maps: tuple[int, ...] = (10, 16, 8, 4), channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (a, b) in enumerate(zip(maps, maps[1:], strict=False)):
            shape = (4, 1, 0) if index == 0 else (4, 2, 1)
            layers.append(nn.ConvTranspose2d(a, b, *shape, bias=False))
            layers += [nn.BatchNorm2d(b), nn.ReLU(True)]
        layers += [nn.ConvTranspose2d(maps[-1], channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.main(z)


@pytest.fixture
def theirs() -> Dcgan:
    torch.manual_seed(0)
    network = Dcgan()
    network(torch.randn(8, 10, 1, 1))  # so that batch norm has seen something
    return network.eval()


def saved(state: State, folder: Path) -> Path:
    file = folder / "theirs.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    return file


def test_an_imported_generator_generates_the_same_images(theirs, tmp_path):
    ours = import_generator(saved(theirs.state_dict(), tmp_path))
    z = torch.randn(5, 10)
    torch.testing.assert_close(ours(z), theirs(z[:, :, None, None]))
    assert (ours.config.size, ours.config.channels, ours.config.width) == (32, 3, 4)
    assert not ours.training and not any(w.requires_grad for w in ours.parameters())


def test_names_count_by_their_numbers_and_half_precision_is_widened(tmp_path):
    """Layer 10 comes after layer 9, which an alphabet would not say; 64 pixels have 14 layers."""
    torch.manual_seed(0)
    theirs = Dcgan((10, 32, 16, 8, 4), channels=1).eval()
    theirs.half()
    ours = import_generator(saved(theirs.state_dict(), tmp_path))
    z = torch.randn(2, 10)
    torch.testing.assert_close(ours(z), theirs.float()(z[:, :, None, None]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("main.1.bias"), "main.1.bias is missing"),
        (lambda s: s.pop("main.4.running_mean"), "4 convolutions want 3 batch norms, it has 2"),
        (lambda s: s.update({"main.0.bias": torch.zeros(16)}), "main.0.bias has no place"),
        (lambda s: s.update({"main.3.weight": torch.zeros(16, 9, 4, 4)}), r"is \(16, 9, 4, 4\)"),
        (lambda s: s.update({"main.3.weight": torch.zeros(16, 8, 3, 3)}), r"is \(16, 8, 3, 3\)"),
        (lambda s: s.update({"main.9.weight": torch.zeros(4, 2, 4, 4)}), "channels must be 1"),
        (lambda s: s["main.1.weight"].fill_(float("nan")), "NaN"),
        (lambda s: s["main.4.running_var"].fill_(-1), "a variance below 0"),
        (lambda s: s["main.3.weight"].fill_(3e38), r"3e\+38: no image can be computed"),
        (lambda s: s.update({"main.1.bias": torch.ones(16, dtype=torch.bool)}), "bool numbers"),
        (lambda s: s.update({"main.0.weight": s["main.0.weight"] * 1j}), "complex64 numbers"),
        (lambda s: s.update({"main.0.weight": s["main.0.weight"].to(torch.int8)}), "int8 numbers"),
        (lambda s: [s.pop(name) for name in list(s) if s[name].dim() == 4], "0 convolutions"),
    ],
)  # fmt: skip
def test_another_layout_is_refused_with_what_does_not_fit(theirs, tmp_path, change, message):
    state = theirs.state_dict()
    change(state)
    with pytest.raises(ModelFileError, match=message):
        import_generator(saved(state, tmp_path))


def test_nothing_is_read_with_pickle(theirs, tmp_path):
    file = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), file)
    with pytest.raises(ModelFileError, match="pickle"):
        import_generator(file)
    renamed = file.rename(tmp_path / "theirs.safetensors")
    with pytest.raises(ModelFileError, match="not a whole safetensors file"):
        import_generator(renamed)
    with pytest.raises(ModelFileError, match="does not exist"):
        import_generator(tmp_path / "nowhere.safetensors")


def test_a_model_of_adgan_needs_no_import(tiny_model, tmp_path):
    for path in (tiny_model, tiny_model / "model.safetensors"):
        with pytest.raises(ModelFileError, match="adgan's own already: give it to --model"):
            import_generator(path)
    with pytest.raises(ModelFileError, match="is a folder; give the .safetensors file"):
        import_generator(tmp_path)
