"""The loaded models of a process: their one owner, the leases that others use them by, and what they may take."""
