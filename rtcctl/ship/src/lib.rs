//! A release from plan to proof, as steps that a journal keeps.
