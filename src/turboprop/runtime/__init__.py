"""Loaded models, open indexes and running jobs, kept warm for whoever serves several requests."""
