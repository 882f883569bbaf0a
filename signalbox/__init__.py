"""The command line of Signalbox: a client of its REST API that needs no Django."""
