"""What must survive a crash, behind `kernel.ports`: in memory for scenarios, PostgreSQL otherwise.

Both implementations share one row codec and pass one conformance suite.
"""
