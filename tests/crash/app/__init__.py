"""An app with workflows that write a trace to a file."""
