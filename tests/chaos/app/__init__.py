"""A Django app with the workflows of the chaos suite.

It is loaded before any model, so that the clock can be stepped for a whole process.
"""

from tests.chaos.app import stepped_clock

stepped_clock.install()
