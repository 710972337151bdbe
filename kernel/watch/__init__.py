"""Telling people what happened: events, log lines, metrics, health and alerts.

Watching never changes a decision; it reads what the kernel did and passes it on.
"""
