"""Revisions of the tables, oldest first; `kernel.store.migrate` runs them."""
