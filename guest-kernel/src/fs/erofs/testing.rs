//! Builds small images for tests.
