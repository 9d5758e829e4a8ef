"""Reconstruction losses of the search: the l of Algorithm 1, differentiable, one value an image.

Each is prepared for the target x, (N, C, S, S) or (1, C, S, S) in [-1, 1], and then takes y,
(N, C, S, S), as often as there are some, -> (N,): 0 where y equals x, larger the less they agree.
What depends on x alone is computed once, although a search compares x with y in each of its steps.
None looks beyond its own image, or a score would depend on its batch mates.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from adgan_cli.config import loss_terms
from adgan_cli.engine.features.backbone import Backbone
from adgan_cli.engine.features.pretrained import backbone_of
from adgan_cli.engine.filters import band_matrix, filtered
from adgan_cli.engine.models.dcgan import Critic
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.ssim import ssim
from adgan_cli.errors import ConfigError

TargetLoss = Callable[[Tensor], Tensor]  # y: (N, C, S, S) -> (N,), against the x it is prepared for
LossFunction = Callable[[Tensor], TargetLoss]  # x: (N or 1, C, S, S), the target

GREY_LEVEL = 2 / 255  # between neighbouring values of 8 bits, in [-1, 1]
COARSEST = 4  # pixels of a Laplacian pyramid's last level
LEAST_LENGTH = 1e-6  # of a place's features: nothing is divided by zero
# of a model, for some losses, and how it comes to have it
NEEDED = {
    "critic-features": "the critic, which this model did not keep; train with --keep-critic",
    "features": "a pretrained network, which this model has not; train with --features NAME|FILE",
}


def l2(x: Tensor) -> TargetLoss:
    """Compute the squared L2 norm of the difference, section 4.2 of the paper; in [0, 4 C S S].

    Summed, not averaged, over pixels and channels: scores are then the paper's, and no image's
    gradient shrinks with its batch.
    """
    return lambda y: (y - x).square().flatten(1).sum(1)


def normalized_l2(x: Tensor) -> TargetLoss:
    """Divide l2 by the image's own squared deviation; `relative` among the names of --loss.

    1 is what a plain image of the right colour gets, whatever the contrast: without it, flat images
    look normal and busy ones do not, as every generator misses a share of what there is.
    """
    error, deviation = l2(x), squared_deviation(x)
    return lambda y: error(y) / deviation


def squared_deviation(x: Tensor) -> Tensor:
    """Sum the squared deviations from the means of the channels, (N, C, S, S) -> (N,).

    An image flatter than one grey level everywhere counts as having that much contrast, so that
    what is divided by this is finite.
    """
    squares = (x - x.mean((2, 3), keepdim=True)).square().flatten(1)
    return squares.sum(1).clamp(min=squares.shape[1] * GREY_LEVEL**2)


def l1(x: Tensor) -> TargetLoss:
    """Compute the L1 norm of the difference, AnoGAN's residual (Schlegl et al., 2017)."""
    return lambda y: (y - x).abs().flatten(1).sum(1)


def laplacian(x: Tensor) -> TargetLoss:
    """Compute the L1 distance of Laplacian pyramids, weight 4^j at level j = 0 (finest), 1, ...

    Ling and Okada (2006), as in Bojanowski et al. (2018), section 3.2; the paper's section 5
    proposes it. The weights make up for the fewer pixels of coarse levels: shape counts as much as
    texture. The last level, of 4 pixels a side, is what is left of the image. In [0, inf).
    """

    def loss(y: Tensor) -> Tensor:
        left, total = y - x, y.new_zeros(len(y))  # pyramids are linear
        weight = 1.0
        while left.shape[-1] > COARSEST:
            small = _blurred(left)[..., ::2, ::2]
            detail = left - _enlarged(small)
            total = total + weight * detail.abs().flatten(1).sum(1)
            left, weight = small, 4 * weight
        return total + weight * left.abs().flatten(1).sum(1)

    return loss


def gradient_difference(x: Tensor) -> TargetLoss:
    """Compare the differences between neighbouring pixels; `gradient` among the names of --loss.

    The gradient difference loss of Mathieu et al. (2016), eq. (6) with alpha = 2 and signs kept,
    divided as in normalized_l2: 1 is what any plain image gets. It sees edges and no colour, so
    that a generator which gets the large areas right is not done. An image without edges counts as
    having one of a grey level everywhere. In [0, inf).
    """
    edges = _SquaredDifferences.apply(x).clamp(min=2 * x[0].numel() * GREY_LEVEL**2)
    return lambda y: _SquaredDifferences.apply(y - x) / edges


class _SquaredDifferences(Function):
    """Sum the squared differences between neighbouring pixels, (N, C, S, S) -> (N,)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        n, c, h, w = image.shape
        split = c * h * (w - 1)
        differences = image.new_empty(n, split + c * (h - 1) * w)  # side by side: one sum for all
        ctx.across = differences[:, :split].view(n, c, h, w - 1)
        ctx.down = differences[:, split:].view(n, c, h - 1, w)
        torch.sub(image[..., 1:], image[..., :-1], out=ctx.across)
        torch.sub(image[..., 1:, :], image[..., :-1, :], out=ctx.down)
        return differences.square().sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (n, c, h, _), w = ctx.across.shape, ctx.down.shape[-1]
        slope = ctx.across.new_zeros(n, c, h, w)
        slope[..., 1:] += ctx.across
        slope[..., :-1] -= ctx.across
        slope[..., 1:, :] += ctx.down
        slope[..., :-1, :] -= ctx.down
        return slope.mul_((2 * grad)[:, None, None, None])


def critic_features(critic: Critic) -> LossFunction:
    """Make the L1 distance of what the critic's last layer is linear in; in [0, inf).

    AnoGAN's feature matching, Schlegl et al. (2017), section 2.2; with its weights the whole of its
    score is 0.9*l1+0.1*critic-features.
    """

    def prepare(x: Tensor) -> TargetLoss:
        features = critic.features(x)
        return lambda y: (critic.features(y) - features).abs().sum(1)

    return prepare


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

    def prepare(x: Tensor) -> TargetLoss:
        maps = unit_maps(x)

        def loss(y: Tensor) -> Tensor:
            pairs = zip(unit_maps(y), maps, strict=True)
            return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)

        return loss

    return prepare


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

    def weighted_sum(x: Tensor) -> TargetLoss:
        targets = [(weight, loss(x)) for weight, loss in terms]
        return lambda y: torch.stack([weight * loss(y) for weight, loss in targets]).sum(0)

    return weighted_sum


def loss_for(model: Model, text: str) -> LossFunction:
    """Make the loss that --loss names with a model's own critic and pretrained network."""
    return make_loss(text, model.critic, backbone_of(model.features))


def _blurred(image: Tensor) -> Tensor:
    """Apply Burt and Adelson's filter (1983), mirrored at the borders: the size stays."""
    padded = F.pad(image, (2, 2, 2, 2), mode="reflect")
    return filtered(padded, _blur_band(padded.shape[-1], padded.device, padded.dtype))


@cache
def _blur_band(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make the matrix of the filter 1, 4, 6, 4, 1 for images of this size."""
    at = torch.arange(-2, 3, device=device, dtype=dtype)
    return band_matrix((6 - (3 * at.abs() + at.square()) / 2) / 16, size)


def _enlarged(image: Tensor) -> Tensor:
    """Double the side: zeros between the pixels, blurred."""
    n, c, h, w = image.shape
    wide = image.new_zeros(n, c, 2 * h, 2 * w)
    wide[..., ::2, ::2] = image
    return 4 * _blurred(wide)
