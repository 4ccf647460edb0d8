"""The Model Context Protocol: the index as tools for coding agents, over stdio and over HTTP."""
