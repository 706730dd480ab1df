//! The cache port: what it holds may vanish at any time, and only speed is lost.
