"""The options of adgan evaluate: which labelled images, and the settings of the methods."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adgan_cli.cli.console import Reporter
from adgan_cli.cli.options import Device, ReaderOptions, TrainingPrecision, warn_of_bf16
from adgan_cli.cli.parse import parse_duration
from adgan_cli.cli.signature import Fields, Overrides, field_option, option
from adgan_cli.config import (
    FEATURES,
    PAPER_SEARCH,
    SEARCH,
    TRAINING,
    FeatureConfig,
    Fit,
    ModelConfig,
    ReadConfig,
    SearchConfig,
    Size,
    TrainConfig,
)
from adgan_cli.evaluation.settings import PAPER_GAN, AutoencoderConfig, GanConfig, Settings
from adgan_cli.processes import join

if TYPE_CHECKING:
    from adgan_cli.evaluation.datasets import DataConfig
    from adgan_cli.images.reader import Reader

DATA = "Data"


@dataclass(frozen=True)
class DataOptions:
    """Which labelled images."""

    dataset: Annotated[
        str,
        option(
            DATA,
            "One of mnist, fashion-mnist, cifar10, cifar100, lsun and digits, or a folder of "
            "classes.",
        ),
    ] = ""
    normal_class: Annotated[
        str, option(DATA, "Index or name of the normal class, several with commas, or all.")
    ] = ""
    normal: Annotated[
        Path | None, option(DATA, "Folder of normal pictures, instead of --dataset.")
    ] = None
    anomalous: Annotated[
        Path | None, option(DATA, "Folder of anomalous pictures, with --normal.")
    ] = None
    n_test: Annotated[str, option(DATA, "Test items drawn at random, or all.")] = "5000"
    data_root: Annotated[
        Path | None,
        option(DATA, "Folder of the data sets; default: ./data.", envvar="ADGAN_DATA_ROOT"),
    ] = None
    download: Annotated[
        bool, option(DATA, "Fetch a data set, or weights of --features, not there.", "--download")
    ] = False
    size: Annotated[
        Size | None,
        field_option(
            ModelConfig, "size", panel=DATA, note="Default: --model's, else the set's own, or 64."
        ),
    ] = None
    fit: Annotated[Fit, field_option(ReadConfig, "fit", panel=DATA)] = ReadConfig.fit

    def config(self, seed: int, model: Path | None) -> "DataConfig":
        """Return what is to be loaded; model: the one to score with, whose size it then has."""
        from adgan_cli.engine.models.header import read_size
        from adgan_cli.evaluation.datasets import DataConfig

        size = read_size(model) if self.size is None and model is not None else self.size
        # of several classes each needs images to train on; of one, the others' are not even read
        several = self.normal_class in ("", "all") or "," in self.normal_class
        return DataConfig(
            self.dataset,
            self.normal,
            self.anomalous,
            normal_class=None if several else self.normal_class,
            size=size,
            seed=seed,
            root=self.data_root,
            download=self.download,
        )

    def reader(self, reading: ReaderOptions, reporter: Reporter) -> "Reader":
        """Return what reads images in folders."""
        from adgan_cli.evaluation.datasets import FOLDER_SIZE
        from adgan_cli.images.read import Preprocessing

        rules = ReadConfig(self.fit)
        return reading.reader(Preprocessing(FOLDER_SIZE, 3, rules.fit, rules.alpha), reporter)


@dataclass(frozen=True)
class MethodOptions:
    """What is trained and searched; adgan-tuned has the objective and dimensions of adgan train."""

    model: Annotated[
        Path | None,
        option(TRAINING, "Score with this model instead of training one.", "-m", "--model"),
    ] = None
    max_time: Annotated[
        str, option(TRAINING, "End the training of each model after this time: 10m, 2h, or none.")
    ] = "30m"
    training: Annotated[
        Overrides[TrainConfig], Fields(PAPER_GAN.train, only=("objective", "iters", "flip"))
    ] = Overrides({})
    shape: Annotated[
        Overrides[ModelConfig],
        Fields(
            ModelConfig(latent_dim=PAPER_GAN.latent_dim),
            panel=TRAINING,
            only=("latent_dim", "width"),
        ),
    ] = Overrides({})
    encoder_iters: Annotated[
        int, field_option(TrainConfig, "encoder_iters", note="Only adgan-tuned has one.")
    ] = TrainConfig.encoder_iters
    features: Annotated[
        str,
        option(
            FEATURES,
            "Also compare by a pretrained network of timm: its NAME, its weights' FILE, or "
            "NAME=FILE.",
            metavar="NAME|FILE",
        ),
    ] = ""
    feature_settings: Annotated[
        Overrides[FeatureConfig], Fields(FeatureConfig(), without=("backbone",))
    ] = Overrides({})
    alexnet_weights: Annotated[
        Path | None, option(TRAINING, "AlexNet's weights as .safetensors.")
    ] = None
    search: Annotated[
        Overrides[SearchConfig],
        Fields(PAPER_SEARCH, panel=SEARCH, only=("k", "lr_z", "lr_theta", "theta")),
    ] = Overrides({})
    device: Device = "auto"
    precision: TrainingPrecision = "auto"

    def settings(self) -> Settings:
        """Return the settings of all methods."""
        limit = parse_duration(self.max_time, "--max-time")
        # nothing is held out: the paper trains on all of a class
        train = replace(self.training.over(PAPER_GAN.train), holdout=0.0)
        tuned = Overrides[TrainConfig](
            {name: value for name, value in self.training.given.items() if name != "objective"}
        )
        tuned_train = tuned.over(TrainConfig(holdout=0.0, encoder_iters=self.encoder_iters))
        model = self.shape.over(ModelConfig(latent_dim=PAPER_GAN.latent_dim))
        search = self.search.over(PAPER_SEARCH)
        from adgan_cli.engine.device import pick_device, pick_precision

        device = pick_device(self.device, join().local_rank)
        precision = pick_precision(self.precision, device)
        warn_of_bf16(precision, device)
        return Settings(
            gan=GanConfig(train, model.latent_dim),
            search=search,
            tuned_gan=GanConfig(tuned_train),
            features=self.feature_settings.over(FeatureConfig()),
            backbone=self.features,
            autoencoder=AutoencoderConfig(latent_dim=model.latent_dim, width=model.width),
            width=model.width,
            max_seconds=float("inf") if limit is None else limit,
            precision=precision,
            device=str(device),
            model=self.model,
            alexnet_weights=self.alexnet_weights,
        )
