//! The object store port on S3.
