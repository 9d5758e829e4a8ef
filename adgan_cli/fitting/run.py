"""One training run: images become a saved, calibrated and judged model."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from adgan_cli.config import SearchConfig, to_dict
from adgan_cli.engine.device import pick_device, pick_precision
from adgan_cli.engine.distributed import process_group
from adgan_cli.engine.features.ensemble import FeatureModel
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.header import MODEL_FILE
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.models.neighbours import write_neighbours
from adgan_cli.engine.training.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from adgan_cli.engine.training.state import TrainState, new_state
from adgan_cli.engine.training.trainer import StepMetrics, train_steps
from adgan_cli.errors import ConfigError, DivergedError, ModelFileError
from adgan_cli.fitting.data import data_provenance, training_data
from adgan_cli.fitting.directory import open_history, prepare_output_dir, write_samples
from adgan_cli.fitting.estimate import Estimate, estimate, measure_costs
from adgan_cli.fitting.features import fit_features, split_for_features
from adgan_cli.fitting.finish import with_held_out_scores, with_learned_encoder
from adgan_cli.fitting.plan import TimePlan, Work
from adgan_cli.fitting.settings import (
    TrainingSettings,
    require_same_images,
    resumed_settings,
    work_of,
)
from adgan_cli.fitting.stages import StageCallbacks, StageProgress
from adgan_cli.fitting.time_limit import TimeLimit
from adgan_cli.fitting.trained_model import trained_model
from adgan_cli.fitting.transform_checkpoint import TRANSFORMATIONS_FILE
from adgan_cli.fitting.verdict import with_verdict
from adgan_cli.images.depth import ranges_dict
from adgan_cli.images.pixels import PixelSet
from adgan_cli.processes import SINGLE, Processes
from adgan_cli.stopping import ShouldStop, is_stopped


@dataclass(eq=False)
class TrainingRun:
    """A run that was started or resumed: first `steps()`, then `finish()`.

    Of several processes all call `steps()`; the main one alone writes, and calls `finish()`.
    """

    state: TrainState
    settings: TrainingSettings
    images: PixelSet  # trained on
    held_out: PixelSet
    out: Path | None = None  # the model directory; None: nothing is written
    resumed: bool = False
    processes: Processes = SINGLE
    features: FeatureModel | None = field(default=None, init=False)
    time_limit: TimeLimit = field(init=False)
    stopped: bool = field(default=False, init=False)  # before it was complete
    _is_prepared: bool = field(default=False, init=False)  # the directory
    saved_step: int = field(init=False)
    _model: Model | None = field(default=None, init=False)  # as of the last save

    def __post_init__(self) -> None:
        self.limit_time(self.settings.max_time)
        self.saved_step = self.state.step
        if self.settings.keep_critic and self.state.critic is None:
            objective = self.state.train_config.objective
            raise ConfigError(f"--keep-critic: {objective} trains no critic")
        if self.processes.world_size > 1:
            self.processes.require_equal(work_of(self.state, self.images))

    @classmethod
    def start(
        cls,
        images: PixelSet,
        settings: TrainingSettings = TrainingSettings(),  # noqa: B008  frozen
        *,
        out: Path | None = None,
        device: torch.device | str = "auto",
        precision: str = "auto",
        processes: Processes = SINGLE,
    ) -> "TrainingRun":
        """Begin at step 0; what an earlier run left in `out` is removed when steps begin."""
        device = _picked(device, processes)
        trained_on, held_out = settings.split(images)
        _, size, _, channels = images.pixels.shape
        state = new_state(
            replace(settings.model, size=size, channels=channels),
            settings.train,
            device=device,
            precision=pick_precision(precision, device),
            n_images=len(trained_on),
        )
        return cls(state, settings, trained_on, held_out, out=out, processes=processes)

    @classmethod
    def resume(
        cls,
        out: Path,
        images: PixelSet,
        settings: TrainingSettings | None = None,
        *,
        device: torch.device | str = "auto",
        processes: Processes = SINGLE,
    ) -> "TrainingRun":
        """Go on exactly where the run in `out` stopped.

        settings: from `resumed_settings`, where more than what was saved is to hold.
        Raises ModelFileError for a missing or damaged checkpoint, ConfigError for other images.
        """
        settings = settings or resumed_settings(out)
        state = load_checkpoint(
            out,
            _picked(device, processes),
            iters=settings.train.iters,
            encoder_iters=settings.train.encoder_iters,
        )
        trained_on, held_out = settings.split(images)
        require_same_images(out, trained_on)
        run = cls(state, settings, trained_on, held_out, out=out, resumed=True, processes=processes)
        if settings.features is not None:
            with suppress(ModelFileError):
                run.features = load_model(out).features
        return run

    @classmethod
    def resume_or_start(
        cls,
        images: PixelSet,
        settings: TrainingSettings,
        *,
        out: Path,
        device: torch.device | str = "auto",
        precision: str,
    ) -> "TrainingRun":
        """Go on with the run in `out` if it has these settings and images; else begin anew."""
        with suppress(ModelFileError, ConfigError):
            saved = read_checkpoint(out)
            model, train = to_dict(settings.model), to_dict(settings.train)
            if saved == {**saved, "model": model, "training": train, "precision": precision}:
                return cls.resume(out, images, settings, device=device)
        return cls.start(images, settings, out=out, device=device, precision=precision)

    def estimate(self) -> Estimate:
        """Measure what a step takes, and count the memory; the run stays as it is."""
        return estimate(self.state, self.images)

    def limit_time(self, seconds: float | None) -> None:
        """Let all that is to do, up to the last file, end in so many seconds from now."""
        work, search = self._work_left(), self.settings.search
        measure = partial(measure_costs, self.state, self.images, work, search)
        self.time_limit = TimeLimit(seconds, measure)

    def plan(self) -> TimePlan | None:
        """Divide the time that is left among all that is to do; None where there is no limit."""
        return self.time_limit.plan(self._work_left())

    def fit_features(
        self,
        stop: ShouldStop | None = None,
        *,
        on_progress: Callable[[StageProgress], None] | None = None,
    ) -> None:
        """Fit what images are compared by beside the generator, before the first step.

        Nothing where the settings ask for none or a resumed run has them. The main of several
        processes does it alone. Stopped in between, a later call goes on.
        """
        settings = self.settings
        if settings.features is None or self.features is not None or not self.processes.is_main:
            return
        self._prepare_output()
        out = self.out
        self.features = fit_features(
            self.images,
            settings.features,
            seed=self.state.train_config.seed,
            until=self.time_limit.until("features", self._work_left()),
            device=self.state.device,
            backbone=settings.backbone,
            read_large=settings.read_large,
            checkpoint=None if out is None else out / TRANSFORMATIONS_FILE,
            on_fewer=None if out is None else partial(write_neighbours, out, self.images),
            callbacks=StageCallbacks(on_progress, stop),
        )

    def steps(self, stop: ShouldStop | None = None) -> Iterator[StepMetrics]:
        """Train until the goal, the time limit or `stop`; yield metrics as the steps are done.

        In `out` are kept, every `save_every` seconds and at the end, a model, a checkpoint and a
        grid of samples; after kill -9 all of them are whole. A diverged run leaves them alone.
        """
        with process_group(self.processes, self.state.device):
            if not self.processes.is_main:
                with suppress(DivergedError):  # which all find, and the main process reports
                    yield from self._steps(stop)
            elif self.out is None:
                yield from self._steps(stop)
            else:
                yield from self._kept_steps(self.out, stop)
        self.stopped = is_stopped(stop) and self.state.step < self.state.train_config.iters

    def finish(
        self,
        stop: ShouldStop | None = None,
        *,
        search: SearchConfig | None = None,
        on_progress: Callable[[StageProgress], None] | None = None,
    ) -> Model:
        """Train the encoder, calibrate, judge and save: all that follows the steps.

        search: what to calibrate for; the model's own when None. Where `stop` comes in between,
        the model lacks what was not complete and `stopped` is true.
        """
        model = self._trained_model() if self.out is None else self._saved_model()
        callbacks = StageCallbacks(on_progress, stop, self.state.notes.append)
        if self.state.step:
            model = self._with_encoder(model, callbacks)
            if not is_stopped(stop):
                work = replace(self._work_left(), steps=0, encoder_steps=0)
                until = self.time_limit.until("calibration", work)
                model = with_held_out_scores(
                    model,
                    self.held_out,
                    search,
                    callbacks,
                    until=until,
                    read_large=self.settings.read_large,
                )
        if not self.settings.networks_only:
            model = with_verdict(model, self.state, self.images, self.held_out)
        self.stopped = is_stopped(stop) and not self._is_complete(model)
        return self._write(model)

    def save(self) -> None:
        """Write model, checkpoint and a grid of samples, as of this step, into `out`."""
        assert self.out is not None
        model = self._trained_model()
        self._model = self._write(model)
        features = self.settings.features
        data = data_provenance(self.images) | {
            "reading": to_dict(self.settings.reading),
            "ranges": ranges_dict(self.images.ranges),
            "features": None if features is None else to_dict(features),
        }
        save_checkpoint(self.state, self.out, data)
        if self.features is not None:  # in the model now
            (self.out / TRANSFORMATIONS_FILE).unlink(missing_ok=True)
        write_samples(self.out, model.require_generator(), self.state.step)
        self.saved_step = self.state.step

    def _steps(self, stop: ShouldStop | None) -> Iterator[StepMetrics]:
        end = None
        if self.processes.is_main:  # all stop when it does
            end = self.time_limit.until("generator", self._work_left())

        def should_stop() -> bool:
            return is_stopped(stop) or (end is not None and time.monotonic() >= end)

        data = training_data(self.images, self.held_out, self.state.device)
        yield from train_steps(self.state, data, should_stop=should_stop, processes=self.processes)

    def _prepare_output(self) -> None:
        """Write what is beside a model from the start, once; a new run clears the directory."""
        if self.out is not None and not self._is_prepared:
            features, seed = self.settings.features, self.state.train_config.seed
            prepare_output_dir(
                self.out,
                self.images,
                clear=not self.resumed,
                # those that features were fitted to lie there already
                keep_neighbours=not self.settings.networks_only and self.features is None,
                references=None
                if features is None
                else split_for_features(self.images, seed).references,
            )
        self._is_prepared = True

    def _kept_steps(self, out: Path, stop: ShouldStop | None) -> Iterator[StepMetrics]:
        self._prepare_output()
        save_every = self.settings.save_every
        started = saved_at = time.monotonic()
        with open_history(out, self.state.step) as history:
            try:
                for metrics in self._steps(stop):
                    history.add(metrics, time.monotonic() - started)
                    yield metrics
                    if save_every is not None and time.monotonic() - saved_at >= save_every:
                        self.save()
                        saved_at = time.monotonic()
                self.save()
            except DivergedError as error:
                kept = "no model was saved yet"
                if (out / MODEL_FILE).exists():
                    kept = f"the model of step {self.saved_step} is kept in {out}"
                raise DivergedError(f"{error}; {kept}") from error

    def _trained_model(self) -> Model:
        return trained_model(self.state, self.settings, self.images, self.features)

    def _saved_model(self) -> Model:
        if self._model is None or self.saved_step != self.state.step:  # `steps` was left early
            self.save()
        assert self._model is not None
        return self._model

    def _write(self, model: Model) -> Model:
        if self.out is None:
            return model
        return replace(model, digest=save_model(model, self.out), file=self.out / MODEL_FILE)

    def _with_encoder(self, model: Model, callbacks: StageCallbacks) -> Model:
        """Train the encoder and save the model with it, unless its objective brought one along."""
        iters = self.state.train_config.encoder_iters
        if not iters or model.encoder is not None:
            return model
        data = training_data(self.images, None, self.state.device)
        until = self.time_limit.until("encoder", replace(self._work_left(), steps=0))
        encoded = with_learned_encoder(model, data, iters, callbacks, until=until)
        return model if encoded is model else self._write(encoded)

    def _is_complete(self, model: Model) -> bool:
        config = self.state.train_config
        calibrated = bool(model.calibrations) or not len(self.held_out)
        encoded = model.encoder is not None or not config.encoder_iters
        return self.state.step >= config.iters and encoded and calibrated

    def _work_left(self) -> Work:
        config, settings = self.state.train_config, self.settings
        return Work(
            steps=config.iters - self.state.step,
            encoder_steps=config.encoder_iters if self.state.encoder is None else 0,
            held_out=0 if settings.networks_only else len(self.held_out),
            compared=settings.features is not None,
            fitted=settings.features is None or self.features is not None,
        )


def _picked(device: torch.device | str, processes: Processes) -> torch.device:
    return pick_device(device, processes.local_rank) if isinstance(device, str) else device
