"""`tp serve`: OpenAI's interface, this project's own, and the web page, over HTTP."""
