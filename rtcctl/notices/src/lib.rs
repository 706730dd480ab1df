//! What was released, told to people and programs.
