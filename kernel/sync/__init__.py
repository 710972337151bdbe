"""Making the stored state agree with the venue: snapshots, unknown outcomes, repairs, recovery.

A difference counts only when it is proven; one missing row proves nothing.
"""
