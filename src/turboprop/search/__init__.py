"""Query to hits: candidates, fusion, filters."""
