"""Ctrl-C as in the foreground: a shell's background job ignores it, and so would the commands that tests interrupt."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
