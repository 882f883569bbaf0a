"""An app whose nodes take threads and connections, and hold up the worker that runs them."""
