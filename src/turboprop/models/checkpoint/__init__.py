"""Checkpoints of every origin behind one view."""
