"""Every method of section 4 by its name in `--methods`.

A method is a function of a cell: one class against the rest in one run, with a folder of its own.
What is trained there is kept there: one GAN serves all that need one, and an interrupted cell goes
on where it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adgan_cli.config import By, to_dict
from adgan_cli.evaluation.methods import (
    adgan,
    anogan,
    autoencoders,
    baselines,
    classical,
    detectors,
    patchcore,
)
from adgan_cli.evaluation.methods.gan import gan_settings
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import Method

METHODS: Mapping[str, Method] = {
    "adgan": adgan.adgan,
    "adgan-1": adgan.adgan_1,
    "adgan-tuned": adgan.adgan_tuned,
    "latent-prior": adgan.latent_prior,
    "all-joined": detectors.everything,
    **detectors.FEATURE_METHODS,
    "patchcore": patchcore.patchcore,
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
_SIMPLE = ("mean-image", "mean-image-relative", "pca", "pca-relative", "file-complexity")
_RECONSTRUCTION = ("adgan", "adgan-1", "adgan-tuned")


_ONE_GAN = ("adgan", "adgan-1", "latent-prior", "discriminator", "anogan")
# one fit of features serves them; all-joined has the generator of adgan-tuned besides
_ONE_FIT = (*detectors.FEATURE_METHODS, "all-joined", "adgan-tuned")


def default_methods(by: By, settings: Settings) -> tuple[str, ...]:
    """List what a first look should have, and what is hard to beat in seconds beside it."""
    learned = [*detectors.FEATURE_METHODS, "patchcore"]
    if settings.model is None and not settings.backbone:
        learned = [name for name in learned if not name.endswith("pretrained")]
    chosen = {
        "reconstruction": _RECONSTRUCTION,
        "features": learned,
        "all": (*_RECONSTRUCTION, "all-joined", *learned),
    }
    return (*chosen[by], *_SIMPLE)


def group_by_shared_model(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Group methods by what they share: a GAN, features, AlexNet. Those that train come first."""
    groups: dict[str, list[str]] = {"gan": [], "features": []}
    for name in names:
        groups.setdefault(_shared_model(name), []).append(name)
    return [tuple(group) for group in groups.values() if group]


def _shared_model(name: str) -> str:
    """Name what a method shares with others: its own name where that is nothing."""
    if name in _ONE_GAN:
        return "gan"
    if name in _ONE_FIT:
        return "features"
    return "alexnet" if name.endswith("-alexnet") else name


def method_settings(name: str, settings: Settings) -> dict[str, Any]:
    """List what a method's scores depend on besides the data, as plain JSON."""
    values: dict[str, Any] = {"method": name}
    if name in (*detectors.FEATURE_METHODS, "all-joined"):
        values |= detectors.feature_settings(settings)
    if name == "patchcore":
        values["backbone"] = settings.backbone
    if name in (*_ONE_GAN, "adgan-tuned", "all-joined"):
        gan = settings.gan if name in _ONE_GAN else settings.tuned_gan
        values["gan"] = str(settings.model) if settings.model else gan_settings(settings, gan)
        search = settings.search if name in _ONE_GAN else settings.tuned
        values["search"] = to_dict(settings.anogan if name == "anogan" else search)
    elif name in ("dcae", "vae"):
        values |= to_dict(settings.autoencoder) | {"max_seconds": settings.time_limit}
    elif name.endswith("-alexnet"):
        values["weights"] = str(settings.alexnet_weights)
    return values
