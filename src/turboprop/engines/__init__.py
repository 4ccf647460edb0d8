"""What runs models: one file and one row of `registry` an engine."""
