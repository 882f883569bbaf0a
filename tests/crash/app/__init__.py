"""An app with workflows that leave a trace outside the database."""
