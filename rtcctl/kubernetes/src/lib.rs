//! The API of Kubernetes as rtcctl uses it.
