"""Planted mistakes, one a file, each of which the scenarios of its rule must notice."""
