"""A capture is used where its replays equal the function, and never where they do not."""

import gc
import weakref
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from adgan_cli.engine import capture as capturing
from adgan_cli.engine.capture import CaptureContext, capture

CPU = torch.device("cpu")


class Walk:
    """A random walk that remembers where it is and how many steps it took."""

    def __init__(self, device=CPU):
        self.at, self.steps = torch.ones(3, device=device), torch.zeros((), device=device)
        self.rng = torch.Generator(device).manual_seed(0)

    def step(self, scale):
        self.steps += 1
        self.at += scale * torch.randn(3, generator=self.rng, device=self.at.device)
        return (self.at.sum() / self.steps,)

    def context(self):
        return CaptureContext(self.at.device, {"at": self.at, "steps": self.steps}, [self.rng])

    def values(self):
        return [self.at.clone(), self.steps.clone(), self.rng.get_state()]


def assert_same(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert torch.equal(one, other)


def scales(device=CPU):
    return torch.tensor([1.0, 2.0, 3.0], device=device)


def test_a_replay_that_equals_the_function_is_used():
    walk, replays = Walk(), []

    def record(function, inputs, context):
        function(*inputs)  # as a warm-up does
        return lambda *values: (replays.append(1), function(*values))[1]

    captured = capture(walk.step, [scales()], walk.context(), record=record)
    assert captured.reason is None
    replays.clear()
    captured.run(scales())
    assert replays == [1]


def frozen_noise(walk):
    noise = torch.randn(3, generator=walk.rng)

    def replay(scale):
        walk.steps += 1
        walk.at += scale * noise
        return (walk.at.sum() / walk.steps,)

    return replay


def forgotten_count(walk):
    def replay(scale):
        walk.at += scale * torch.randn(3, generator=walk.rng)
        return (walk.at.sum() / (walk.steps + 1),)

    return replay


def frozen_count(walk):
    """What a number that Python read does: right at first, wrong in the second run."""
    first = walk.steps.item() + 1

    def replay(scale):
        walk.step(scale)
        return (walk.at.sum() / first,)

    return replay


def stale_input(walk):
    return lambda scale: walk.step(torch.ones(3))


def no_number(walk):
    return lambda scale: (walk.step(scale)[0] * float("nan"),)


def drawn_too_often(walk):
    def replay(scale):
        result = walk.step(scale)
        torch.rand(1, generator=walk.rng)
        return result

    return replay


@pytest.mark.parametrize(
    "make", [frozen_noise, forgotten_count, frozen_count, stale_input, no_number, drawn_too_often]
)
def test_a_replay_that_differs_is_not_used(make):
    walk = Walk()
    captured = capture(walk.step, [scales()], walk.context(), record=lambda *_: make(walk))
    assert captured.run == walk.step
    assert captured.reason.startswith("its replay differs in ")


def test_what_the_function_only_remembers_is_compared_too():
    walk = Walk()

    def silent(scale):
        walk.step(scale)
        return ()

    def elsewhere(scale):
        walk.step(2 * scale)
        return ()

    captured = capture(silent, [scales()], walk.context(), record=lambda *_: elsewhere)
    assert "differs in at by" in captured.reason


@pytest.mark.parametrize(
    "error", [RuntimeError, AttributeError, AssertionError, torch.OutOfMemoryError]
)
def test_a_capture_that_fails_leaves_the_function_and_its_root_as_reason(error):
    walk = Walk()

    def record(function, inputs, context):
        try:
            function(*inputs)
            raise error("no such kernel\nsecond line")
        finally:
            raise RuntimeError("capture ended")

    captured = capture(walk.step, [scales()], walk.context(), record=record)
    assert captured.run == walk.step
    assert captured.reason == "it cannot be captured: no such kernel"


def failing(function, inputs, context):
    function(*inputs)
    raise RuntimeError


def interrupted(function, inputs, context):
    function(*inputs)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "record", [lambda function, *_: function, lambda *_: lambda scale: (scale.sum(),), failing]
)
def test_afterwards_everything_is_as_it_was(record):
    walk = Walk()
    walk.step(scales())
    before = walk.values()
    capture(walk.step, [scales()], walk.context(), record=record)
    assert_same(before, walk.values())


def test_without_memory_to_check_a_capture_there_is_none(monkeypatch):
    walk = Walk()

    def full(context):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(CaptureContext, "copy", full)
    captured = capture(walk.step, [scales()], walk.context(), record=interrupted)
    assert captured.run == walk.step and "no memory for a check" in captured.reason


def test_an_interrupted_capture_leaves_everything_as_it_was():
    walk = Walk()
    before = walk.values()
    with pytest.raises(KeyboardInterrupt):
        capture(walk.step, [scales()], walk.context(), record=interrupted)
    assert_same(before, walk.values())


def test_what_a_function_differs_by_from_itself_a_replay_may_differ_by():
    device_noise = torch.Generator().manual_seed(0)  # not of the context: no two runs are equal

    def function(x):
        return (x + torch.rand(100, generator=device_noise),)

    context = CaptureContext(CPU, {})
    assert capture(function, [torch.zeros(100)], context, record=lambda f, *_: f).reason is None
    shifted = capture(
        function, [torch.zeros(100)], context, record=lambda f, *_: lambda x: (f(x)[0] + 5,)
    )
    assert shifted.reason is not None


def test_the_tolerance_is_a_share_of_what_changes():
    def function(x):
        return (x,)

    def record(*_):
        return lambda x: (1.02 * x,)

    context = CaptureContext(CPU, {})
    assert capture(function, [scales()], context, record=record).reason is None
    strict = capture(function, [scales()], context, record=record, tolerance=0.01)
    assert "differs in result 0" in strict.reason


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graph_draws_anew_at_each_replay_as_the_function_does():
    device = torch.device("cuda", torch.cuda.current_device())
    walk, literal = Walk(device), Walk(device)
    captured = capture(walk.step, [scales(device)], walk.context())
    assert captured.reason is None
    for _ in range(3):
        (result,) = captured.run(scales(device))
        (expected,) = literal.step(scales(device))
        torch.testing.assert_close(result, expected)
    assert_same(walk.values(), literal.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_memory_that_a_graph_reads_is_not_given_to_others():
    device = torch.device("cuda", torch.cuda.current_device())
    zeros = torch.zeros(1000, device=device)

    def sevens():
        offset = torch.full((1000,), 7.0, device=device)
        return capture(lambda x: (x + offset,), [zeros], CaptureContext(device, {})).run

    run = sevens()
    gc.collect()
    others = [torch.full((1000,), -1.0, device=device) for _ in range(50)]
    (result,) = run(zeros)
    assert (result == 7).all() and len(others) == 50


class StandIns:
    """What `record_cuda_graph` calls of torch.cuda, on a CPU; a graph replays nothing."""

    def __init__(self, monkeypatch):
        self.calls, self.left_in = [], "current"
        self.capturing = False
        for name in ("CUDAGraph", "Stream", "current_stream", "set_stream", "device", "stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(capturing, "_renew", lambda ones: self.calls.append(("renew", *ones)))

    class CUDAGraph:
        def register_generator_state(self, generator):
            pass

        def replay(self):
            pass

    def Stream(self):  # noqa: N802  torch's name
        return SimpleNamespace(name="side", wait_stream=lambda other: None)

    def current_stream(self):
        return SimpleNamespace(name=self.left_in, wait_stream=lambda other: None)

    def set_stream(self, stream):
        self.left_in = stream.name

    def device(self, device):
        return nullcontext()

    @contextmanager
    def stream(self, stream):
        yield

    @contextmanager
    def graph(self, graph, stream):
        self.left_in = "side"  # where torch leaves it if ending the capture raises
        self.capturing = True
        yield
        self.left_in = "current"


def test_a_replay_keeps_alive_what_its_function_reads(monkeypatch):
    StandIns(monkeypatch)

    def recorded():
        walk = Walk()
        replay = capturing.record_cuda_graph(walk.step, [scales()], walk.context())
        return replay, weakref.ref(walk)

    replay, walk = recorded()
    gc.collect()
    assert walk() is not None
    del replay
    gc.collect()
    assert walk() is None


def test_a_recording_that_fails_leaves_its_stream_and_its_generators_state(monkeypatch):
    cuda, walk = StandIns(monkeypatch), Walk()

    def refused(scale):
        if cuda.capturing:
            raise RuntimeError("not while capturing")
        return walk.step(scale)

    captured = capture(refused, [scales()], walk.context())
    assert captured.reason == "it cannot be captured: not while capturing"
    assert walk.steps == 0 and cuda.left_in == "current"
    assert cuda.calls == [("renew", walk.rng)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_python_reads_cannot_be_captured_and_everything_goes_on():
    device = torch.device("cuda", torch.cuda.current_device())
    walk = Walk(device)

    def reading(scale):
        (mean,) = walk.step(scale)
        return (mean * mean.item(),)

    stream, before = torch.cuda.current_stream(), walk.values()
    captured = capture(reading, [scales(device)], walk.context())
    assert captured.reason.startswith("it cannot be captured: ")
    assert torch.cuda.current_stream() == stream
    assert_same(before, walk.values())
    walk.step(scales(device))
    torch.rand(3, device=device)  # the default generator, which was captured too
    assert capture(walk.step, [scales(device)], walk.context()).reason is None


def test_a_context_restores_what_it_copied():
    walk = Walk()
    copies = walk.context().copy()
    before = walk.values()
    walk.step(scales())
    assert not torch.equal(before[0], walk.at)
    walk.context().restore(copies)
    assert_same(before, walk.values())
    assert capturing.RUNS > 1  # see frozen_count
