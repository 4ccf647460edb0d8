"""Prompts and messages in, text out: options, chat templates, streaming; the engines below know ids alone."""
