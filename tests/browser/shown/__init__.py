"""An app whose workflows bring a run into every state its page can show."""
