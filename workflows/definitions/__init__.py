"""The workflows we ship, one file each."""
