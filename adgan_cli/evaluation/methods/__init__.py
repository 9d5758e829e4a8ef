"""Every method of section 4 by its name in `--methods`.

A method is a function of a cell: one class against the rest in one run, with a folder of its own.
What is trained there is kept there: one GAN serves all that need one, and an interrupted cell goes
on where it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adgan_cli.config import to_dict
from adgan_cli.evaluation.methods import adgan, anogan, autoencoders, baselines, classical
from adgan_cli.evaluation.methods.gan import gan_settings
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import Method

METHODS: Mapping[str, Method] = {
    "adgan": adgan.adgan,
    "adgan-1": adgan.adgan_1,
    "adgan-tuned": adgan.adgan_tuned,
    "latent-prior": adgan.latent_prior,
    "discriminator": anogan.discriminator,
    "anogan": anogan.anogan,
    "dcae": autoencoders.dcae,
    "vae": autoencoders.vae,
    "kde": classical.tuned(classical.kde),
    "kde-free": classical.free(classical.kde),
    "kde-alexnet": classical.on_alexnet(classical.kde),
    "ocsvm": classical.tuned(classical.ocsvm),
    "ocsvm-free": classical.free(classical.ocsvm),
    "ocsvm-alexnet": classical.on_alexnet(classical.ocsvm),
    "iforest": classical.tuned(classical.iforest),
    "iforest-free": classical.free(classical.iforest),
    "gmm": classical.tuned(classical.gmm),
    "gmm-free": classical.free(classical.gmm),
    "mean-image": lambda cell: baselines.mean_image(cell.task),
    "mean-image-relative": lambda cell: baselines.mean_image(cell.task, relative=True),
    "pca": lambda cell: baselines.pca(cell.task),
    "pca-relative": lambda cell: baselines.pca(cell.task, relative=True),
    "file-complexity": lambda cell: baselines.file_complexity(cell.task),
}
# what a first look should have beside ADGAN: seconds each, and hard to beat
DEFAULT_METHODS = (
    *("adgan", "adgan-1", "adgan-tuned"),
    *("mean-image", "mean-image-relative", "pca", "pca-relative", "file-complexity"),
)
_ONE_GAN = ("adgan", "adgan-1", "latent-prior", "discriminator", "anogan")


def group_by_shared_model(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Group methods by what they share: one GAN, AlexNet, or nothing. The GAN's take longest."""
    groups: dict[str, list[str]] = {"gan": []}
    for name in names:
        shared = "gan" if name in _ONE_GAN else "alexnet" if name.endswith("-alexnet") else name
        groups.setdefault(shared, []).append(name)
    return [tuple(group) for group in groups.values() if group]


def method_settings(name: str, settings: Settings) -> dict[str, Any]:
    """List what a method's scores depend on besides the data, as plain JSON."""
    values: dict[str, Any] = {"method": name}
    if name in (*_ONE_GAN, "adgan-tuned"):
        gan = settings.tuned_gan if name == "adgan-tuned" else settings.gan
        values["gan"] = str(settings.model) if settings.model else gan_settings(settings, gan)
        searches = {"anogan": settings.anogan, "adgan-tuned": settings.tuned}
        values["search"] = to_dict(searches.get(name, settings.search))
    elif name in ("dcae", "vae"):
        values |= to_dict(settings.autoencoder) | {"max_seconds": settings.time_limit}
    elif name.endswith("-alexnet"):
        values["weights"] = str(settings.alexnet_weights)
    return values
