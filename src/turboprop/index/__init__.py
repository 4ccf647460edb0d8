"""The index on disk: schema, write, read, build, lock."""
