//! The object store port, and a folder as one.
