"""Adapters of the real venues: pure codecs and adapters, with thin transports around them.

Everything but the transports runs inside the deterministic kernel.
"""
