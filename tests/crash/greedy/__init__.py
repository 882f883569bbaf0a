"""An app whose nodes occupy threads and connections, and block their worker."""
