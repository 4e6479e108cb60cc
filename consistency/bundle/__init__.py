"""Bundles: one version of a model on disk, with what it takes to reproduce its scores.

`manifest.py` says what is in one, `writer.py` writes it whole or not at all, `reader.py` opens and
checks it, `golden.py` is the set of rows that a version must reproduce before it goes live.
"""

from consistency.bundle.golden import GoldenSet
from consistency.bundle.manifest import Manifest, PipelineRef
from consistency.bundle.reader import Bundle, bind_pipeline, open_bundle, verify_files
from consistency.bundle.writer import BundleContent, write_bundle

__all__ = [
    "Bundle",
    "BundleContent",
    "GoldenSet",
    "Manifest",
    "PipelineRef",
    "bind_pipeline",
    "open_bundle",
    "verify_files",
    "write_bundle",
]
