"""Where in an image the patches are that training images have less of.

The detector of patches adds up, over a quarter of the image, how much each place is like each word
of its dictionary. What the sum has beyond that of the nearest training images is shared out among
the places that it came from. Letters in the shapes: K centres, 2 K words (like a centre, or like
its negative), T places a side, s pixels a side.
"""

import numpy as np
import torch
import torch.nn.functional as F

from adgan_cli.engine.features.detector import TINY
from adgan_cli.engine.features.distances import NearestNeighbours
from adgan_cli.engine.features.patches import CELLS, PATCH, THRESHOLD, PatchDictionary


@torch.no_grad()
def patch_map(
    dictionary: PatchDictionary, distance: NearestNeighbours, image: np.ndarray
) -> np.ndarray:
    """Share the squared distance out among places: uint8 (s, s, C) -> (s, s) float32, at least 0.

    Square roots, so that a place twice as unusual has twice as much. Words that the image has less
    of than the nearest training images have no place.
    """
    response = dictionary.responses(image)  # (K, T, T)
    words = (torch.cat([response, -response]) - THRESHOLD).relu_()  # (2 K, T, T)
    beyond = distance.beyond_nearest(dictionary.represent(image)).clip(min=0)  # (D,)
    squares = torch.from_numpy(np.square(beyond)).view(-1, CELLS, CELLS)  # (2 K, CELLS, CELLS)
    shares = squares / F.adaptive_avg_pool2d(words, CELLS).clamp_(min=TINY)
    heat = (words * F.interpolate(shares[None], words.shape[1:])[0]).sum(0)  # (T, T)
    # each pixel gets the mean of the patches that cover it; beyond the border there are none
    margin = (PATCH - 1,) * 4
    total = F.avg_pool2d(F.pad(heat[None, None], margin), PATCH, 1)
    covered = F.avg_pool2d(F.pad(torch.ones_like(heat)[None, None], margin), PATCH, 1)
    return (total / covered)[0, 0].sqrt_().numpy()
