"""Sessions that ended: what was typed is kept until the next sign-in."""
