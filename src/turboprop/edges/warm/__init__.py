"""A server in the background, one a user, that keeps models and indexes open for `tp search`."""
