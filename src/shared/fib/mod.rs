//! The forwarding tables: longest-prefix match, next-hop groups, adjacencies, and the world that
//! publishes them together.
