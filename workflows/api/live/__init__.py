"""Server-sent events of the API: what is streamed, to whom, and for how long."""
