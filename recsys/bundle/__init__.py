"""The bundle: one directory, whole or absent, that training hands to serving; a damaged or foreign one is refused.

Nothing in it is pickled. ``manifest.json`` names every file with its size and SHA-256, and says what was trained, on
what, how well, and which answers the bundle must give again before a server may use it.
"""

from recsys.bundle.contents import BundleFiles, read_bundle, read_manifest, seal, write_bundle, write_sealed
from recsys.bundle.manifest import (
    BUNDLE_ID,
    FORMAT,
    MANIFEST,
    OPTIONAL_FILES,
    REQUIRED_FILES,
    FileEntry,
    GoldenRequest,
    Manifest,
    ManifestDraft,
    TextModel,
    TextVariant,
    TrainingWindow,
    check_fingerprint,
    library_versions,
)
from recsys.bundle.onnx_guard import check_onnx

__all__ = [
    "BUNDLE_ID",
    "FORMAT",
    "MANIFEST",
    "OPTIONAL_FILES",
    "REQUIRED_FILES",
    "BundleFiles",
    "FileEntry",
    "GoldenRequest",
    "Manifest",
    "ManifestDraft",
    "TextModel",
    "TextVariant",
    "TrainingWindow",
    "check_fingerprint",
    "check_onnx",
    "library_versions",
    "read_bundle",
    "read_manifest",
    "seal",
    "write_bundle",
    "write_sealed",
]
