"""Translate between the outside and the core; edges never import each other."""
