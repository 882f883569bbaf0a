"""An app with workflows that end their process, and one that does not."""
