"""The vocabulary: time, money, instruments, orders, positions and the messages of a step.

Everything here is a value: frozen, comparable, and written to the journal in one canonical form.
"""
