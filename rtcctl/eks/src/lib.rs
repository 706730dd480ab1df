//! Clusters of EKS: what they are, what still fits into them, and how to sign in.
