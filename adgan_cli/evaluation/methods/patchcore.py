"""PatchCore (Roth et al., 2022): how far the oddest place of an image is from a coreset of places.

Local features are those of a pretrained network's middle layers, where there is one; else what the
dictionary of the folder's own patches answers. Letters in the shapes: N places, D features, M
centres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adgan_cli.engine.features.backbone import Backbone
from adgan_cli.engine.features.local_features import PROJECTED, coreset
from adgan_cli.engine.features.patches import THRESHOLD, PatchDictionary, fit_patch_dictionary
from adgan_cli.evaluation.batches import finite
from adgan_cli.evaluation.features import sample
from adgan_cli.evaluation.methods.detectors import cell_backbone
from adgan_cli.evaluation.task import Cell, MethodResult

MAX_IMAGES = 500  # drawn from those to train on
MAX_PLACES = 20_000  # drawn from these images, that a coreset is chosen from
MAX_CENTRES = 1_000  # of the coreset; theirs: a hundredth to a quarter of all places
NEIGHBOURS = 9  # b of their equation 7
GRID = 4  # pixels between two places of the folder's own patches
MAX_REDUCTION = 16  # of the maps: those of their levels 2 and 3

Local = Callable[[np.ndarray], Tensor]  # uint8 (S, S, C) -> (N, D)


@dataclass(frozen=True, eq=False)
class Coreset:
    """Places of the training images that are near to all of them."""

    centres: Tensor  # (M, D)

    def score(self, places: Tensor) -> float:
        """Score an image by its places, (N, D): their equations 6 and 7."""
        distances = torch.cdist(places, self.centres)  # (N, M)
        least, nearest = distances.min(1)
        odd = int(least.argmax())
        count = min(NEIGHBOURS, len(self.centres))
        centre = self.centres[nearest[odd]]
        around = torch.cdist(centre[None], self.centres)[0].topk(count, largest=False).indices
        # 1 - exp(d*) / sum of exp(d), the nearest among them, without overflow
        share = torch.softmax(distances[odd, around], 0)[around == nearest[odd]].sum()
        return float((1 - share) * least[odd]) if count > 1 else float(least[odd])


def patchcore(cell: Cell) -> MethodResult:
    """Score by the oddest place of an image, against a coreset of those in the training set."""
    train, seed = sample(cell.task.train, cell.task.seed), cell.task.seed
    backbone = cell_backbone(cell.settings)
    if backbone is None:
        local = dictionary_places(fit_patch_dictionary(train, seed))
    else:
        local = backbone_places(backbone, train.shape[1])
    rng = np.random.default_rng(seed)
    drawn = train[rng.permutation(len(train))[:MAX_IMAGES]]
    places = [_drawn(local(image), len(drawn), rng) for image in drawn]
    centres = Coreset(chosen_centres(torch.cat(places), rng))
    scores = []
    for done, image in enumerate(cell.task.test):
        cell.report("comparing", done / len(cell.task.test))
        scores.append(centres.score(local(image)))
    settings = {
        "centres": len(centres.centres),
        "features": "own patches" if backbone is None else backbone.config.name,
    }
    return MethodResult(finite(np.array(scores)), settings)


def dictionary_places(dictionary: PatchDictionary) -> Local:
    """Describe places by the dictionary's answers around them, positive and negative apart."""

    def local(image: np.ndarray) -> Tensor:
        responses = dictionary.responses(image)  # (K, T, T)
        halves = (torch.cat([responses, -responses]) - THRESHOLD).relu_()
        size = min(2 * GRID, halves.shape[-1])
        return F.avg_pool2d(halves, size, GRID).flatten(1).T.contiguous()

    return local


def backbone_places(backbone: Backbone, side: int) -> Local:
    """Describe places by the maps of middle layers, each averaged over 3 x 3: their section 3.1."""
    reading = backbone.reading_side(side)

    @torch.inference_mode()
    def local(image: np.ndarray) -> Tensor:
        maps = backbone.maps(backbone.prepare(image[None], reading), backbone.config.layers)
        maps = [one for one in maps if one.shape[-1] * MAX_REDUCTION >= reading] or maps[:1]
        smooth = [F.avg_pool2d(one, 3, 1, 1, count_include_pad=False) for one in maps]
        size = smooth[0].shape[-2:]
        aligned = [F.interpolate(one, size, mode="bilinear") for one in smooth]
        return torch.cat(aligned, 1)[0].flatten(1).T.contiguous().cpu()

    return local


def chosen_centres(places: Tensor, rng: np.random.Generator) -> Tensor:
    """Choose centres that no place is far from, in PROJECTED dimensions: (N, D) -> (M, D)."""
    directions = rng.standard_normal((places.shape[1], PROJECTED)).astype(np.float32)
    projected = places.numpy() @ directions if places.shape[1] > PROJECTED else places.numpy()
    start = int(rng.integers(len(places)))
    return places[torch.from_numpy(coreset(projected, MAX_CENTRES, start=start))]


def _drawn(places: Tensor, images: int, rng: np.random.Generator) -> Tensor:
    """Draw an image's share of MAX_PLACES."""
    count = min(len(places), MAX_PLACES // images)
    return places[torch.from_numpy(rng.permutation(len(places))[:count])]
