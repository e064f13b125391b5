//! Network environments of several processes within one, over loopback.
mod edges;
mod exchange;
mod hostile;
mod jobs;
mod rest;
mod support;
mod tls;
