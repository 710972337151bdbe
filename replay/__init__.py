"""Journals and market data played back: recorded runs, generated waves, and the diff of two runs.

A live run's journal replays here and must give the same effects.
"""
