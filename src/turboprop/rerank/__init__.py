"""A query and documents -> a score for each: models that read both texts at once."""
