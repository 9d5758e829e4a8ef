"""What adgan train says: its plan before, what came of it after."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adgan_cli.cli.console import escape_control, format_duration, output
from adgan_cli.config import to_dict
from adgan_cli.text import format_bytes, format_number, plural

if TYPE_CHECKING:
    from adgan_cli.engine.models.model import Model
    from adgan_cli.fitting.choice import Choice
    from adgan_cli.fitting.plan import TimePlan
    from adgan_cli.fitting.run import TrainingRun
    from adgan_cli.fitting.settings import TrainingSettings
    from adgan_cli.images.find import Listing

FEW_STEPS = 1000  # below, even digits are separated clearly worse


def choice_line(choice: "Choice", settings: "TrainingSettings") -> str:
    """Say which networks were chosen, and why."""
    one, steps = choice.candidate, choice.steps
    text = f"chosen {one.size} px, width {one.width}, batches of {one.batch_size}: "
    if steps >= choice.enough:
        text += f"the largest of which {choice.enough:,} steps"
    else:
        text += f"the quickest, and still only some {steps:,} steps"
    return (
        f"{text} fit into {_limit_text(settings)}, at {format_number(choice.step)} s a step here; "
        "--size, --width, --batch-size say otherwise"
    )


def plan_line(plan: "TimePlan", run: "TrainingRun", spent: float) -> str:
    """Say how the time is divided; spent: the seconds that it took to get here."""
    config, held_out = run.state.train_config, len(run.held_out)
    encoder = f"{plan.encoder_steps:,} steps"
    if plan.encoder_steps < config.encoder_iters:
        encoder = f"{plan.encoder_steps:,} of {config.encoder_iters:,} steps"
    scored = f"{held_out:,} pictures"
    if plan.calibrated < held_out:
        scored = f"{plan.calibrated:,} drawn from {scored}"
    parts = [
        (spent, "reading"),
        (plan.features, "features at most"),
        (plan.generator, f"generator (about {plan.steps:,} steps)"),
        (plan.encoder, f"encoder ({encoder})"),
        (plan.calibration, f"p-values ({scored})"),
        (plan.saving, "writing"),
    ]
    shown = [f"{format_duration(seconds)} {what}" for seconds, what in parts if seconds >= 0.5]
    return f"plan for {_limit_text(run.settings)}: {', '.join(shown)}"


def _limit_text(settings: "TrainingSettings") -> str:
    return "none" if settings.max_time is None else format_duration(settings.max_time)


def weights_line(model: "Model") -> str:
    """Say what each detector counts for, the most important first."""
    assert model.features is not None
    scales = sorted(model.features.scales.items(), key=lambda pair: -pair[1].weight)
    return "what counts: " + ", ".join(f"{name} {scale.weight:.0%}" for name, scale in scales)


def start_line(run: "TrainingRun") -> str:
    """Say what is trained, where, and until when."""
    state, limit, count = run.state, run.settings.max_time, run.processes.world_size
    config = state.train_config
    until = "it gets no better" if config.patience else f"{config.iters:,} steps"
    until += f" or {format_duration(limit)}" if limit is not None else ""
    several = f" in {count} processes" if count > 1 else ""
    return (
        f"training {config.objective} at {state.model_config.size} px on {state.device.type} "
        f"({state.precision}){several}, until {until}; Ctrl-C saves and stops"
    )


def result_lines(run: "TrainingRun", model: "Model", out: Path, seconds: float) -> list[str]:
    """Say how far training came, what the verdict is, and what to do next."""
    from adgan_cli.fitting.verdict import verdict_numbers

    step, config = run.state.step, run.state.train_config
    goal, auto = config.iters, config.patience > 0
    of_goal = "" if auto else f" of {goal:,}"
    spent, digest = format_duration(seconds), model.digest[:12]
    lines = [f"{step:,}{of_goal} steps in {spent}; model in {out} ({digest})"]
    verdict = model.provenance["verdict"]
    if step == 0:
        lines.append("warning: not one step was taken; this model has learnt nothing")
    else:
        lines.append(f"verdict: {verdict['verdict']}; {verdict['advice']}")
        lines.append(f"it goes by: {verdict_numbers(verdict)}")
        lines += shortened_lines(run, model)
    if 0 < step < min(goal, FEW_STEPS) and not run.stopped:
        lines.append(
            "warning: so few steps make a weak model; go on, or see --preset quick (32 px)"
        )
    if step < goal and not auto:
        lines.append("go on: the same command with --resume")
    if run.stopped and step:
        lines.append(f"or finish what there is, encoder and p-values: with --resume --iters {step}")
    samples = out / "samples"
    lines.append(f"look at {samples}: the less they look like real.png, the longer to train")
    return lines


def shortened_lines(run: "TrainingRun", model: "Model") -> list[str]:
    """Say what has less than it was to have, as the time was short."""
    if not model.calibrations:
        lines = ["no p-values yet: adgan calibrate FOLDER makes them possible"]
    else:
        lines = sample_lines(model, len(run.held_out))
    wanted = run.state.train_config.encoder_iters
    taken = wanted if run.state.encoder else (model.provenance.get("encoder") or {}).get("iters", 0)
    if run.stopped or taken >= wanted:
        return lines
    if not taken:
        return [*lines, "no encoder: the time was too short; searches start at random points alone"]
    return [*lines, f"encoder: {taken:,} of {wanted:,} steps, as the time was short"]


def sample_lines(model: "Model", held_out: int) -> list[str]:
    """Say where p-values go by some of the images held out only."""
    used = max((len(calibration.scores) for calibration in model.calibrations), default=0)
    if not 0 < used < held_out:
        return []
    return [
        f"p-values go by {used:,} drawn from {plural(held_out, 'picture')} held out, as the time "
        "was short; adgan calibrate FOLDER takes all"
    ]


def print_plan(run: "TrainingRun", listing: "Listing", failed: int, spent: float) -> None:
    """Print what the run would do, and how long it would take; spent: seconds of it till now."""
    state, time_plan = run.state, run.plan()
    cost = run.estimate()
    seconds = cost.seconds_per_step * (state.train_config.iters - state.step)
    plan: dict[str, Any] = {
        "folder": listing.root,
        "out": run.out,
        "pictures": f"{len(run.images):,} to train on, {len(run.held_out):,} held out",
        "left out": f"{failed:,}",
        **to_dict(state.model_config),
        **to_dict(run.settings.reading),
        **to_dict(state.train_config),
        "device": state.device,
        "precision": state.precision,
        "memory": f"about {format_bytes(cost.memory)}",
        "speed": f"{format_number(1 / cost.seconds_per_step)} generator steps a second",
        "time for all steps": f"about {format_duration(seconds)}",
        "time limit": _limit_text(run.settings),
    }
    if time_plan is not None:
        plan["steps within the limit"] = f"about {time_plan.steps + state.step:,}"
        plan["parts"] = plan_line(time_plan, run, spent)
    for name, value in plan.items():
        output(escape_control(f"{name.replace('_', ' '):24}{value}"))
