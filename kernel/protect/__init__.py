"""Keeping open positions safe: stops, trailing, aged positions, the position guard, zombie orders.

One module owns the protected level of a position, and no path ever loosens it.
"""
