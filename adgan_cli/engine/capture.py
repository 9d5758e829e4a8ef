"""Capture a function of device tensors as one CUDA graph, check it against itself, and replay it.

Small networks wait for Python, which launches their kernels one by one; a captured graph is one
launch. What a function may do to be captured: fixed shapes, no value that Python reads, no copy
from or to the host, random numbers of the device's own `torch.Generator`s; all that it remembers is
in tensors that it changes in place. See https://pytorch.org/docs/stable/notes/cuda.html

A capture is not trusted: what is wrong with one shows in numbers, not in errors. So its first
replays are compared with the function itself from the same state, and where they differ, or nothing
could be captured, the function is run as it is, for a reason that the caller can pass on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]
Function = Callable[..., Outputs]  # of tensors on one device

WARM_UPS = 3  # runs before a capture, in which libraries choose kernels and workspaces
RUNS = 2  # that are compared: a single one would not show a number that was frozen
# what a replay may differ by, as a share of what the function itself changed: kernels that add in
# any order differ in the last digits, of which Adam's first step makes whole steps here and there
TOLERANCE = 0.05
NOISE = 4  # times what the function differed by from itself, run twice
ROUNDING = 1e-6  # of a tensor's size, where it hardly changes
RANDOM_STATE = "random state"  # before the number of a generator, among what is compared


@dataclass(frozen=True)
class CaptureContext:
    """What a function runs on, changes in place and draws from."""

    device: torch.device
    tensors: Mapping[str, Tensor]  # all that it changes in place; named, to say what differs
    generators: Sequence[torch.Generator] = ()  # all that it draws from

    def copy(self) -> dict[str, Tensor]:
        """Copy the tensors, and the states of the generators."""
        copies = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return copies | {name: one.get_state() for name, one in self._named_generators()}

    @torch.no_grad()
    def restore(self, copies: Mapping[str, Tensor]) -> None:
        """Bring everything back to what `copy` returned."""
        for name, tensor in self.tensors.items():
            tensor.copy_(copies[name])
        for name, generator in self._named_generators():
            generator.set_state(copies[name])

    def _named_generators(self) -> list[tuple[str, torch.Generator]]:
        return [(f"{RANDOM_STATE} {index}", one) for index, one in enumerate(self.generators)]


@dataclass(frozen=True)
class Captured:
    """How a function is to be run from now on.

    run: takes tensors like the example inputs. Where it is a replay, what it returns is overwritten
    by its next call.
    """

    run: Function
    reason: str | None = None  # why `run` is the function itself; None: it is a replay


# record(function, example inputs, context) -> the same function, replayed; any exception: it cannot
Record = Callable[[Function, Sequence[Tensor], CaptureContext], Function]


def capture(
    function: Function,
    inputs: Sequence[Tensor],
    context: CaptureContext,
    *,
    record: Record | None = None,
    tolerance: float = TOLERANCE,
) -> Captured:
    """Capture `function` for inputs of these shapes and check it; all that it changes stays.

    record: `record_cuda_graph` unless given. tolerance: what a tensor may differ by from what the
    function itself makes of it, as a share of its change, in sums of absolute values.
    """
    try:
        before = context.copy()
    except torch.OutOfMemoryError:  # nothing was changed yet
        return Captured(function, "it cannot be captured: there is no memory for a check of it")
    try:
        replay = (record or record_cuda_graph)(function, inputs, context)
        context.restore(before)
        reason = _difference(function, replay, inputs, context, tolerance)
    except Exception as error:  # of any kind: the function as it is does without
        reason = f"it cannot be captured: {_first_line(error)}"
    finally:
        context.restore(before)
    return Captured(replay) if reason is None else Captured(function, reason)


def record_cuda_graph(
    function: Function, inputs: Sequence[Tensor], context: CaptureContext
) -> Function:
    """Record the kernels of a function, to be replayed after a copy of the inputs into its buffers.

    The function runs a few times before, and changes what it changes. Raises whatever it raises.
    """
    with torch.cuda.device(context.device):
        buffers = [one.clone() for one in inputs]
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        graph = torch.cuda.CUDAGraph()
        if torch.__version__ < (2, 14):  # since then they register themselves, and this warns
            for generator in context.generators:
                graph.register_generator_state(generator)
        try:
            _warm_up(function, buffers, side)
            with torch.cuda.graph(graph, stream=side):
                outputs = function(*buffers)
        except BaseException:
            torch.cuda.set_stream(current)  # `torch.cuda.graph` leaves its own behind
            _renew(context.generators)
            raise

    return _Replay(graph, buffers, outputs, (function, context))


@dataclass(frozen=True)
class _Replay:
    """A recorded function."""

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    outputs: Outputs
    # kernels go by addresses: what the function reads must not be freed as long as they may run
    kept: tuple[Function, CaptureContext]

    def __call__(self, *values: Tensor) -> Outputs:
        for buffer, value in zip(self.inputs, values, strict=True):
            buffer.copy_(value)
        self.graph.replay()
        return self.outputs


def _warm_up(function: Function, inputs: Sequence[Tensor], side: torch.cuda.Stream) -> None:
    """Run a function on another stream, between what the current one did and will do."""
    current = torch.cuda.current_stream()
    side.wait_stream(current)
    try:
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*inputs)
    finally:
        current.wait_stream(side)


def _renew(generators: Sequence[torch.Generator]) -> None:
    """Give generators a state of their own after a capture that failed.

    Their old one stays in capture mode and draws no more; nor do other graphs that know it.
    """
    device = torch.cuda.current_device()
    for generator in (*generators, torch.cuda.default_generators[device]):
        fresh = torch.Generator(generator.device)
        fresh.set_state(generator.get_state())
        generator.graphsafe_set_state(fresh)


def _difference(
    function: Function,
    replay: Function,
    inputs: Sequence[Tensor],
    context: CaptureContext,
    tolerance: float,
) -> str | None:
    """Run the function twice and its replay once, from the same state; say how they differ."""
    before = context.copy()
    expected, again, replayed = (
        _results(one, inputs, context, before) for one in (function, function, replay)
    )
    for name, value in expected.items():
        if name.startswith(RANDOM_STATE):  # drawn as often, and of the same
            allowed = 0.0
        else:
            change = _distance(value, before[name]) if name in before else _size(value)
            noise = _distance(value, again[name])
            allowed = tolerance * change + NOISE * noise + ROUNDING * _size(value)
        difference = _distance(replayed[name], value)
        if not difference <= allowed:  # nor where it is not a number
            return f"its replay differs in {name} by {difference:.2g}, {allowed:.2g} allowed"
    return None


def _results(
    function: Function,
    inputs: Sequence[Tensor],
    context: CaptureContext,
    before: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Run a function some times from a state; copy, by names, what it returned and changed."""
    context.restore(before)
    outputs = {}
    for run in range(RUNS):
        for index, output in enumerate(function(*inputs)):
            outputs[f"result {index} of run {run}"] = output.detach().clone()
    return outputs | context.copy()


def _distance(a: Tensor, b: Tensor) -> float:
    return _size(a.float() - b.float())


def _size(x: Tensor) -> float:
    return x.float().abs().sum().item()


def _first_line(error: BaseException) -> str:
    """Return the first line of the error at the root: ending a capture raises one more."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0]
