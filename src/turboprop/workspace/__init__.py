"""Repositories as every edge sees them: where one is, what changed in it, its index, and several of them together."""
