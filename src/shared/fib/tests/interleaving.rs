//! Publish, read and reclaim in every order.
