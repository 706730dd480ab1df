//! The cache port on Redis.
