"""Which variables of a session nothing has set: those of a SavedModel that is still being copied.

tensorflow_model_server takes a SavedModel without its `variables/` folder for one that has no
variables, serves it, and fails every request until the next version. Here such a version fails to
load, and the one before it goes on serving.

Only the model server loads this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from serving.model_server.models.saved_model import Session

_REFERENCES: Final = frozenset({"Variable", "VariableV2"})
_RESOURCE: Final = "VarHandleOp"


def uninitialised(session: Session) -> list[str]:
    """Return the names of the variables that have no value; adds to the session's graph."""
    import tensorflow as tf

    tests = {}
    with session.graph.as_default():
        for operation in list(session.graph.get_operations()):
            if operation.type in _REFERENCES:
                tests[operation.name] = tf.raw_ops.IsVariableInitialized(ref=operation.outputs[0])
            elif operation.type == _RESOURCE:
                handle = operation.outputs[0]
                tests[operation.name] = tf.raw_ops.VarIsInitializedOp(resource=handle)
    found = session.run(list(tests.values()))
    return [name for name, is_set in zip(tests, found, strict=True) if not is_set]
