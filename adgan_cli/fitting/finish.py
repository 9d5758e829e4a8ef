"""What follows the training steps: the encoder, and the scores of images held out."""

from dataclasses import replace

from adgan_cli.config import SearchConfig
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.encoder import train_encoder
from adgan_cli.fitting.stages import StageCallbacks
from adgan_cli.scoring.calibrate import ImagesToScore, with_calibration


def with_learned_encoder(
    model: Model, data: TrainingData, iters: int, callbacks: StageCallbacks
) -> Model:
    """Train an encoder for the model's generator; stopped early, the model is as it was."""

    def on_step(step: int, loss: float) -> None:
        callbacks.report("encoder", step, iters, loss)

    encoder = train_encoder(
        model.require_generator(),
        data,
        iters,
        on_step=on_step,
        should_stop=callbacks.should_stop,
        on_note=callbacks.on_note,
    )
    if encoder is None:
        return model
    provenance = {**model.provenance, "encoder": {"iters": iters}}
    return replace(model, encoder=encoder, provenance=provenance)


def with_held_out_scores(
    model: Model, held_out: ImagesToScore, search: SearchConfig | None, callbacks: StageCallbacks
) -> Model:
    """Score images held out, for p-values; stopped early, the model is as it was.

    search: how; None: as the model itself does, and by the reconstruction, by features and by both.
    """
    if not len(held_out.pixels):
        return model

    def on_image(done: int, total: int) -> None:
        callbacks.report("calibrating", done, total)

    config = search or model.default_search()
    if search is None and model.features is not None:
        config = replace(config, by="all")
    return with_calibration(
        model, held_out, config, on_image=on_image, should_stop=callbacks.should_stop
    )
