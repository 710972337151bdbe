"""The scenario suites that ship with the kernel, by the rule that they prove.

YAML files where a file can say it, Python where it cannot.
"""
