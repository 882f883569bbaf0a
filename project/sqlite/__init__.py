"""Django's SQLite backend, with a lock that orders the writers of one process."""
