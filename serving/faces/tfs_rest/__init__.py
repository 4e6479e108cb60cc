"""TensorFlow Serving's HTTP face: `/v1/models/NAME[...]:predict` and its sisters.

`app.py` is the ASGI application; the other modules are its parts: routes, the JSON that upstream
reads and writes, and the translation between JSON and the messages of gRPC. Only the model server
loads `app.py` and the modules that name messages: they import TensorFlow.
"""
