//! Joins of two inputs: by window, by an interval of event time, and unbounded over changelogs.
