"""Files to chunks: walk, languages, syntax, lines."""
