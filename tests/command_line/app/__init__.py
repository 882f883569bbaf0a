"""An app with a workflow that the tests of the command line launch."""
