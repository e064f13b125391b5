//! What Flink puts before a sink: enforcement of NOT NULL and of the lengths of character and binary types.
