"""When the losses of a training are read: reading waits for the device."""

import time

import torch

# an accelerator is waited for at most this far apart: later, and stopping would take long
EVERY, SECONDS = 25, 0.25  # steps; whichever is less


class Reports:
    """After each step on a CPU; else after the first and the last, and seldom in between."""

    def __init__(self, device: torch.device, step: int, goal: int) -> None:
        self.on_cpu, self.goal = device.type == "cpu", goal
        self.step, self.time = step, time.monotonic()  # of the last
        self.every = 1

    def are_due(self, step: int) -> bool:
        """Tell whether losses are to be read after so many steps."""
        return step - self.step >= self.every or step == self.goal

    def note(self, step: int) -> None:
        """Set when the next are due, by how long the steps since the last took."""
        now = time.monotonic()
        if not self.on_cpu:
            affordable = SECONDS * (step - self.step) / max(now - self.time, 1e-9)
            self.every = max(1, min(EVERY, int(affordable)))
        self.step, self.time = step, now
