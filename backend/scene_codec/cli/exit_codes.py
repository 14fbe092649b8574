"""Exit statuses of the command; scripts may rely on them."""

OK = 0
LEFT_OUT = 1
"""Finished, but some inputs were left out (each is named), or `doctor` found something missing."""
ERROR = 2
"""Refused or failed; one line on stderr says why. Wrong arguments end with this status too."""
BUG = 3
"""An error nobody foresaw; the traceback is on stderr."""
CANCELLED = 130
"""Stopped by Ctrl-C; nothing half written is left."""
