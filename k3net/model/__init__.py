"""Pure: no clock, no log, no Twisted, no I/O; the standard library only."""
