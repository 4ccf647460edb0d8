"""The models that were brought here by hand."""
