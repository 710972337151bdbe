"""Scenarios: a world, a timeline of faults, expectations, and invariants that are always on.

Running, searching, shrinking and reporting live here; the scenarios themselves are in
`scenarios.suites`.
"""
