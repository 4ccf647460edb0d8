"""The command `tp`."""
