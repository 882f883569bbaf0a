"""`python -m signalbox`."""

from signalbox.main import run

run()
