"""The embedded model server: TensorFlow Serving's protocol and life cycle.

`api.py` says what every face calls; `server_core.py` answers it, with `serving.core` behind it.
"""
