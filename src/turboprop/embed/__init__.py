"""Texts to vectors: prompts, batching, pipeline."""
