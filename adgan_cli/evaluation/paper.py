"""The paper's own numbers, Tables 1 and 2 and section 4.3: AUC of each class, then the mean.

Two printed means are not the means of their columns: OC-SVM on MNIST (0.945, the column gives
0.956) and DCAE on CIFAR-10 (0.583, the column gives 0.555). They stand here as printed.
"""

PAPER: dict[str, dict[str, tuple[float, ...]]] = {
    "mnist": {
        "kde": (0.982, 0.999, 0.888, 0.898, 0.943, 0.930, 0.972, 0.933, 0.924, 0.940, 0.941),
        "kde-alexnet": (
            0.634, 0.922, 0.654, 0.639, 0.676, 0.651, 0.636, 0.628, 0.617, 0.644, 0.670,
        ),
        "ocsvm": (0.994, 0.999, 0.993, 0.933, 0.960, 0.898, 0.998, 0.946, 0.898, 0.942, 0.945),
        "ocsvm-alexnet": (
            0.895, 1.000, 0.796, 0.932, 0.950, 0.855, 0.971, 0.884, 0.751, 0.959, 0.899,
        ),
        "iforest": (0.957, 1.000, 0.822, 0.924, 0.922, 0.859, 0.903, 0.938, 0.814, 0.913, 0.905),
        "gmm": (0.970, 0.999, 0.931, 0.951, 0.968, 0.917, 0.994, 0.938, 0.889, 0.962, 0.952),
        "dcae": (0.988, 0.993, 0.917, 0.885, 0.862, 0.858, 0.954, 0.940, 0.823, 0.965, 0.919),
        "vae": (0.921, 0.999, 0.815, 0.814, 0.879, 0.811, 0.943, 0.886, 0.780, 0.920, 0.877),
        "anogan": (0.990, 0.998, 0.888, 0.913, 0.944, 0.912, 0.925, 0.964, 0.883, 0.958, 0.937),
        "adgan-1": (0.972, 0.997, 0.874, 0.848, 0.910, 0.916, 0.957, 0.937, 0.816, 0.924, 0.915),
        "adgan": (0.995, 0.999, 0.936, 0.921, 0.936, 0.944, 0.967, 0.968, 0.854, 0.957, 0.947),
    },
    "cifar10": {
        "kde": (0.705, 0.493, 0.734, 0.522, 0.691, 0.439, 0.771, 0.458, 0.595, 0.490, 0.590),
        "kde-alexnet": (
            0.559, 0.487, 0.582, 0.531, 0.651, 0.551, 0.613, 0.593, 0.600, 0.529, 0.570,
        ),
        "ocsvm": (0.666, 0.473, 0.675, 0.530, 0.827, 0.438, 0.787, 0.532, 0.720, 0.453, 0.610),
        "ocsvm-alexnet": (
            0.594, 0.540, 0.588, 0.575, 0.753, 0.558, 0.692, 0.547, 0.630, 0.530, 0.601,
        ),
        "iforest": (0.630, 0.379, 0.630, 0.408, 0.764, 0.514, 0.666, 0.480, 0.651, 0.459, 0.558),
        "gmm": (0.709, 0.443, 0.697, 0.445, 0.761, 0.505, 0.766, 0.496, 0.646, 0.384, 0.585),
        "dcae": (0.656, 0.435, 0.381, 0.545, 0.288, 0.643, 0.509, 0.690, 0.698, 0.705, 0.583),
        "vae": (0.620, 0.664, 0.382, 0.586, 0.386, 0.586, 0.565, 0.622, 0.663, 0.737, 0.581),
        "anogan": (0.610, 0.565, 0.648, 0.528, 0.670, 0.592, 0.625, 0.576, 0.723, 0.582, 0.612),
        "adgan-1": (0.627, 0.546, 0.561, 0.595, 0.586, 0.628, 0.604, 0.623, 0.702, 0.591, 0.606),
        "adgan": (0.632, 0.529, 0.580, 0.606, 0.607, 0.659, 0.611, 0.630, 0.744, 0.644, 0.624),
    },
}  # fmt: skip

# what a set of that name must call its classes for the numbers to be about them
CLASSES = {
    "mnist": tuple("0123456789"),
    "cifar10": tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
}

# Section 4.3 gives only the means of these two, footnote 6 only one class of LSUN.
MEANS = {
    "mnist": {"discriminator": 0.625, "latent-prior": 0.721},
    "cifar10": {"discriminator": 0.513, "latent-prior": 0.554},
}
LSUN = {"bedroom": {"adgan": 0.641}}


def paper_auc(dataset: str, method: str, index: int, name: str) -> float | None:
    """Look up the AUC printed for a class; None for a set or class that the paper has not."""
    if dataset == "lsun":
        return LSUN.get(name, {}).get(method)
    column = PAPER.get(dataset, {}).get(method)
    if column is None or dict(enumerate(CLASSES[dataset])).get(index) != name:
        return None
    return column[index]


def paper_mean(dataset: str, method: str) -> float | None:
    """Look up the mean over all ten classes as printed, if there is one."""
    column = PAPER.get(dataset, {}).get(method)
    return column[-1] if column else MEANS.get(dataset, {}).get(method)
