"""A kernel as the driver sees it: in this process, or in one of its own (`--isolate`)."""

from __future__ import annotations

from typing import Protocol

from kernel.app import Kernel
from kernel.errors import KernelError
from kernel.model.messages import Input, StepResult


class KernelLost(KernelError):
    """The process of a kernel ended, or fell silent, though nobody ordered it."""


class AnyKernel(Protocol):
    """One life of a kernel."""

    @property
    def crashes(self) -> list[str]:
        """See `Kernel.crashes`."""

    def step(self, item: Input) -> StepResult:
        """See `Kernel.step`."""

    def next_deadline(self) -> int | None:
        """See `Kernel.next_deadline`."""

    def state_digest(self) -> str:
        """See `Kernel.state_digest`."""

    def die_in(self, item: Input) -> None:
        """Die while an input is worked on: it was given, and nothing of the step came out."""

    def close(self) -> None:
        """See `Kernel.close`."""


class LocalKernel(Kernel):
    """A kernel in this process."""

    def die_in(self, item: Input) -> None:
        """See `AnyKernel.die_in`: what a step does inside meets nobody, so it is left out."""
        self.close()
