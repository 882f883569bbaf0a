"""The Django project: what is installed, and how it is set up and reached."""
