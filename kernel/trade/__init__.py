"""Opening positions: wave execution, risk checks, sizing, the entry state machine, and exits.

One module submits entries and one module closes positions; nobody else does either.
"""
