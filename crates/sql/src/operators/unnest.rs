//! UNNEST: a row per element of an array, map or multiset.
