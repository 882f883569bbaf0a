"""A Django app with the workflows that the simulation adds to those of the chaos suite."""
