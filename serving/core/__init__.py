"""What is served: source → loader → manager, in TF Serving's words and with its meanings.

A `source` finds versions, a version `policy` says which of them are aspired, the `manager` loads
and unloads them one action at a time through `loader`s and hands out `handle`s, and a `poller`
turns the wheel. Nothing here knows a bundle, a library or a protocol.
"""
