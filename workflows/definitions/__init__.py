"""The shipped workflows, one file each."""
