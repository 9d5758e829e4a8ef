"""Reconstruction losses of the search: the l of Algorithm 1, differentiable, one value an image.

All take y and x, (N, C, S, S) in [-1, 1], and give (N,): 0 where y equals x, larger the less they
agree. None looks beyond its own image, or a score would depend on its batch mates.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from adgan_cli.config import loss_terms
from adgan_cli.engine.features.backbone import Backbone
from adgan_cli.engine.features.pretrained import backbone_of
from adgan_cli.engine.models.dcgan import Critic
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError

LossFunction = Callable[[Tensor, Tensor], Tensor]  # y, x: (N, C, S, S) -> (N,)

GREY_LEVEL = 2 / 255  # between neighbouring values of 8 bits, in [-1, 1]
SSIM_SIDE, SSIM_SIGMA = 11, 1.5  # of its Gaussian window; Wang et al. (2004), section III.B
SSIM_K = 0.01, 0.03  # K_1 and K_2, same section
COARSEST = 4  # pixels of a Laplacian pyramid's last level
LEAST_LENGTH = 1e-6  # of a place's features: nothing is divided by zero
# of a model, for some losses, and how it comes to have it
NEEDED = {
    "critic-features": "the critic, which this model did not keep; train with --keep-critic",
    "features": "a pretrained network, which this model has not; train with --features NAME|FILE",
}


def l2(y: Tensor, x: Tensor) -> Tensor:
    """Compute the squared L2 norm of the difference, section 4.2 of the paper; in [0, 4 C S S].

    Summed, not averaged, over pixels and channels: scores are then the paper's, and no image's
    gradient shrinks with its batch.
    """
    return (y - x).square().flatten(1).sum(1)


def normalized_l2(y: Tensor, x: Tensor) -> Tensor:
    """Divide l2 by the image's own squared deviation; `relative` among the names of --loss.

    1 is what a plain image of the right colour gets, whatever the contrast: without it, flat images
    look normal and busy ones do not, as every generator misses a share of what there is.
    """
    return l2(y, x) / squared_deviation(x)


def squared_deviation(x: Tensor) -> Tensor:
    """Sum the squared deviations from the means of the channels, (N, C, S, S) -> (N,).

    An image flatter than one grey level everywhere counts as having that much contrast, so that
    what is divided by this is finite.
    """
    squares = (x - x.mean((2, 3), keepdim=True)).square().flatten(1)
    return squares.sum(1).clamp(min=squares.shape[1] * GREY_LEVEL**2)


def l1(y: Tensor, x: Tensor) -> Tensor:
    """Compute the L1 norm of the difference, AnoGAN's residual (Schlegl et al., 2017)."""
    return (y - x).abs().flatten(1).sum(1)


def laplacian(y: Tensor, x: Tensor) -> Tensor:
    """Compute the L1 distance of Laplacian pyramids, weight 4^j at level j = 0 (finest), 1, ...

    Ling and Okada (2006), as in Bojanowski et al. (2018), section 3.2; the paper's section 5
    proposes it. The weights make up for the fewer pixels of coarse levels: shape counts as much as
    texture. The last level, of 4 pixels a side, is what is left of the image. In [0, inf).
    """
    left, total = y - x, x.new_zeros(len(x))  # pyramids are linear
    weight = 1.0
    while left.shape[-1] > COARSEST:
        small = _blurred(left)[..., ::2, ::2]
        detail = left - _enlarged(small)
        total = total + weight * detail.abs().flatten(1).sum(1)
        left, weight = small, 4 * weight
    return total + weight * left.abs().flatten(1).sum(1)


def ssim(y: Tensor, x: Tensor) -> Tensor:
    """Compute 1 - the mean structural similarity of Wang et al. (2004), eq. (13); in [0, 2].

    A Gaussian window of 11 x 11 and sigma 1.5, wherever it lies inside the image; values in
    [-1, 1] have the dynamic range 2.
    """
    at = torch.arange(SSIM_SIDE, dtype=x.dtype, device=x.device) - SSIM_SIDE // 2
    row = (-at.square() / (2 * SSIM_SIGMA**2)).exp()
    row = row / row.sum()
    mean = partial(_filtered, row=row)
    c1, c2 = ((k * 2) ** 2 for k in SSIM_K)
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x * mean_x, mean(y * y) - mean_y * mean_y
    covariance = mean(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    alike = alike / ((mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2))
    return 1 - alike.flatten(1).mean(1)


def gradient_difference(y: Tensor, x: Tensor) -> Tensor:
    """Compare the differences between neighbouring pixels; `gradient` among the names of --loss.

    The gradient difference loss of Mathieu et al. (2016), eq. (6) with alpha = 2 and signs kept,
    divided as in normalized_l2: 1 is what any plain image gets. It sees edges and no colour, so
    that a generator which gets the large areas right is not done. An image without edges counts as
    having one of a grey level everywhere. In [0, inf).
    """
    error, edges = x.new_zeros(len(x)), x.new_zeros(len(x))
    for dim in (-2, -1):
        of_x = x.diff(dim=dim).flatten(1)
        error = error + (y.diff(dim=dim).flatten(1) - of_x).square().sum(1)
        edges = edges + of_x.square().sum(1)
    return error / edges.clamp(min=2 * x[0].numel() * GREY_LEVEL**2)


def critic_features(critic: Critic) -> LossFunction:
    """Make the L1 distance of what the critic's last layer is linear in; in [0, inf).

    AnoGAN's feature matching, Schlegl et al. (2017), section 2.2; with its weights the whole of its
    score is 0.9*l1+0.1*critic-features.
    """
    return lambda y, x: (critic.features(y) - critic.features(x)).abs().sum(1)


def perceptual(backbone: Backbone) -> LossFunction:
    """Compare the maps of a pretrained network at several depths; `features` of --loss.

    LPIPS, Zhang et al. (2018), eq. (1), without its learned weights: the features of each place are
    scaled to length 1, squared differences averaged over places and added up over depths; in
    [0, 4 depths]. Images below 64 pixels are enlarged: deep maps would have but one place.
    """

    def unit_maps(images: Tensor) -> list[Tensor]:
        side = backbone.loss_side(images.shape[-1])
        maps = backbone.maps(backbone.normalize((images + 1) / 2, side), backbone.depths)
        return [F.normalize(one, dim=1, eps=LEAST_LENGTH) for one in maps]

    def loss(y: Tensor, x: Tensor) -> Tensor:
        pairs = zip(unit_maps(y), unit_maps(x), strict=True)
        return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)

    return loss


def make_loss(
    text: str, critic: Critic | None = None, backbone: Backbone | None = None
) -> LossFunction:
    """Make the loss that --loss names, such as l2 or l1+0.5*laplacian: a weighted sum of losses.

    critic, backbone: of the model, in eval mode. ConfigError where one is needed and there is none.
    """
    losses: dict[str, LossFunction] = {
        "l2": l2,
        "relative": normalized_l2,
        "l1": l1,
        "laplacian": laplacian,
        "ssim": ssim,
        "gradient": gradient_difference,
    }
    if critic is not None:
        losses["critic-features"] = critic_features(critic)
    if backbone is not None:
        losses["features"] = perceptual(backbone)
    try:
        terms = [(weight, losses[name]) for weight, name in loss_terms(text)]
    except KeyError as error:
        raise ConfigError(
            f"--loss {text} needs {NEEDED[error.args[0]]}, or choose another loss"
        ) from error
    if len(terms) == 1 and terms[0][0] == 1:
        return terms[0][1]
    return lambda y, x: torch.stack([weight * loss(y, x) for weight, loss in terms]).sum(0)


def loss_for(model: Model, text: str) -> LossFunction:
    """Make the loss that --loss names with a model's own critic and pretrained network."""
    return make_loss(text, model.critic, backbone_of(model.features))


def _filtered(image: Tensor, row: Tensor) -> Tensor:
    """Convolve every channel with row^T row, where it fits: (N, C, S, S) -> (N, C, T, T).

    As products with band matrices: ten times as fast on a CPU as convolutions of a single channel.
    """
    h, w = image.shape[-2:]
    return _band(row, h) @ (image @ _band(row, w).T)


def _band(row: Tensor, size: int) -> Tensor:
    """Make the matrix (T, S) whose rows are `row`, shifted by 0, 1, ... T - 1."""
    shift = torch.arange(size - len(row) + 1, device=row.device)[:, None]
    tap = torch.arange(size, device=row.device) - shift
    return row[tap.clamp(0, len(row) - 1)].masked_fill((tap < 0) | (tap >= len(row)), 0.0)


def _blurred(image: Tensor) -> Tensor:
    """Apply Burt and Adelson's filter (1983), mirrored at the borders: the size stays."""
    at = torch.arange(-2, 3, dtype=image.dtype, device=image.device)
    row = (6 - (3 * at.abs() + at.square()) / 2) / 16  # 1, 4, 6, 4, 1; a list would be copied there
    return _filtered(F.pad(image, (2, 2, 2, 2), mode="reflect"), row)


def _enlarged(image: Tensor) -> Tensor:
    """Double the side: zeros between the pixels, blurred."""
    n, c, h, w = image.shape
    wide = image.new_zeros(n, c, 2 * h, 2 * w)
    wide[..., ::2, ::2] = image
    return 4 * _blurred(wide)
