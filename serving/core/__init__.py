"""What is served: source → loader → manager, in TF Serving's words and with its meanings.

A `source` finds versions (below one folder, or `base_paths`: below one path a model), a version
`policy` says which of them are aspired, the `manager` loads and unloads them through `loader`s and
hands out `handle`s: one action at a time, or, `concurrent`, several. A `poller` turns the wheel,
`resources` bounds the memory, and `arrivals` waits for new models. Nothing here knows a bundle, a
library or a protocol.
"""
