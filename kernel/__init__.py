"""The deterministic trading kernel: inputs in, numbered effects out.

Nothing below this package reads a clock, draws a random number or opens a socket; whatever may
differ between two runs arrives as an input. `docs/architecture.md` tells the whole story.
"""
