"""The parts of a kernel: put together, supervised, commanded by an operator, stopped.

`parts` is the place where a new part is built and begun.
"""
