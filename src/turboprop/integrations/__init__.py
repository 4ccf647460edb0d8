"""Adapters for the frameworks of others, one module each: a module imports its framework, and nothing imports a module
but who uses it. docs/python.md is the manual."""
