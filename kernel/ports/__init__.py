"""What the kernel asks of the world, and what the world may tell it.

A port promises only what every venue, store and price service can keep; its docstrings are the
contract that adapters and simulators are tested against.
"""
