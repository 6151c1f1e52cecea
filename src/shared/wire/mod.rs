//! Wire formats: checked views over bytes, and checksums.
