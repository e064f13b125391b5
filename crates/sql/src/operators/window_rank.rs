//! Window Top-N: the first rows per window and partition, emitted when the window closes.
