"""Settings are checked when made and come back from JSON as they were."""

import json

import pytest

from adgan_cli.config import (
    ModelConfig,
    SearchConfig,
    TrainConfig,
    canonical_json,
    from_dict,
    to_dict,
)
from adgan_cli.errors import ConfigError
from adgan_cli.presets import PRESETS


def test_the_papers_settings_are_a_preset():
    assert PRESETS["paper"].search == SearchConfig(
        by="reconstruction",
        n_seed=8,
        init="prior",
        z_radius=0.0,
        k=5,
        lr_z=0.25,
        lr_theta=5e-5,
        theta="per-point",
        precision="auto",
        loss="l2",
        seed=0,
    )
    assert PRESETS["paper"].model.latent_dim == 256


def test_what_is_not_given_is_what_the_commands_do():
    default = PRESETS["default"]
    assert (default.model, default.train) == (ModelConfig(), TrainConfig())
    assert default.search == SearchConfig()


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: ModelConfig(size=48), "--size"),
        (lambda: ModelConfig(channels=2), "--channels"),
        (lambda: ModelConfig(latent_dim=0), "--latent-dim"),
        (lambda: TrainConfig(objective="gan2"), "--objective"),
        (lambda: TrainConfig(iters=0), "--iters"),
        (lambda: TrainConfig(batch_size=1), "--batch-size"),
        (lambda: TrainConfig(clip=0.0), "--clip"),
        (lambda: TrainConfig(ema=1.0), "--ema"),
        (lambda: TrainConfig(seed=-1), "--seed"),
        (lambda: SearchConfig(n_seed=0), "--n-seed"),
        (lambda: SearchConfig(k=-1), "--k"),
        (lambda: SearchConfig(k=2**63), "--k"),
        (lambda: SearchConfig(z_radius=1e38), "--z-radius"),
        (lambda: SearchConfig(lr_z=1e38), "--lr-z"),
        (lambda: SearchConfig(lr_theta=1e7), "--lr-theta"),
        (lambda: SearchConfig(loss="l2+1" + "0" * 400 + "*l1"), "--loss"),
        (lambda: TrainConfig(clip=1e38), "--clip"),
        (lambda: TrainConfig(penalty=1e38), "--penalty"),
        (lambda: SearchConfig(lr_theta=float("nan")), "--lr-theta"),
        (lambda: SearchConfig(theta="some"), "--theta"),
        (lambda: SearchConfig(init="posterior"), "--init"),
        (lambda: SearchConfig(reduce="max"), "--reduce"),
        (lambda: SearchConfig(lr_decay=0.0), "--lr-decay"),
        (lambda: SearchConfig(z_radius=-0.1), "--z-radius"),
        (lambda: SearchConfig(precision="fp16"), "--precision"),
        (lambda: SearchConfig(precision="bf16", theta="per-point"), "--precision"),
        (lambda: SearchConfig(precision="tf32", theta="per-image"), "--precision"),
        (lambda: SearchConfig(lr_z=float("inf")), "--lr-z"),
        (lambda: SearchConfig(loss="l7"), "--loss"),
        (lambda: TrainConfig(penalty=float("inf")), "--penalty"),
        (lambda: ModelConfig(width=10**9), "--width"),
    ],
)
def test_a_setting_out_of_range_names_its_option(make, name):
    with pytest.raises(ConfigError, match=f"^{name} must be .*, got "):
        make()


@pytest.mark.parametrize(
    "config", [ModelConfig(32, 1), TrainConfig(flip=True), SearchConfig(lr_z=1.0)]
)
def test_settings_survive_json(config):
    assert from_dict(type(config), json.loads(canonical_json(to_dict(config)))) == config


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"size": "64"}, {"size": True}, {"size": 64.5}, {"size": None}]
)
def test_settings_from_elsewhere_are_refused(change):
    with pytest.raises(ConfigError):
        from_dict(ModelConfig, {**to_dict(ModelConfig()), **change})


def test_a_missing_setting_is_refused():
    values = to_dict(ModelConfig())
    del values["width"]
    with pytest.raises(ConfigError, match="width"):
        from_dict(ModelConfig, values)


def test_equal_values_give_equal_json():
    assert (
        canonical_json({"b": 1, "a": 2.5})
        == '{"a":2.5,"b":1}'
        == canonical_json({"a": 2.5, "b": 1})
    )


def test_the_default_run_has_a_time_limit_and_the_papers_has_none():
    assert PRESETS["default"].max_time == "30m"
    assert PRESETS["paper"].max_time == "none"
    assert PRESETS["paper"].train.objective == "wgan"
