"""The simulated venue: matching, accounts, delays, faults and prices, all from one seed.

It owns its state; the kernel reaches it only through messages, as it would a real venue.
"""
