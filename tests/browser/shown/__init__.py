"""An app whose workflows bring a run into every state that its page can show."""
