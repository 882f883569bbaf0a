"""An app with one migration that a migrated database of the tests has not applied."""
