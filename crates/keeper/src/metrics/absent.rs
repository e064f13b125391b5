//! The names of ZooKeeper's that count what this server does not have.
//!
//! ZooKeeper tells all of its figures from the start, and tools expect each of them. What concerns parts that a standalone server of ours
//! does not have is told here as ZooKeeper tells it before the first event: a count of 0, and for a summary a sum, minimum, mean and
//! maximum of 0 as well. A name leaves these tables when there is something to measure.

/// Counters.
pub(super) const COUNTERS: &[&str] = &[
    // An ensemble: elections, leaders and learners. (`snap_count` counts snapshots sent to learners, not those written.)
    "diff_count",
    "learner_commit_received_count",
    "learner_proposal_received_count",
    "looking_count",
    "quit_leading_due_to_disloyal_voter",
    "request_commit_queued",
    "requests_not_forwarded_to_commit_processor",
    "revalidate_count",
    "skip_learner_request_to_next_processor_count",
    "snap_count",
    // Threads with queues between them: a request becomes a transaction as soon as it is read.
    "prep_processor_request_queued",
    // A cleaner of dead watchers: watches go with their connection.
    "add_dead_watcher_stall_time",
    "dead_watchers_cleared",
    "dead_watchers_queued",
    // Caches of encoded answers: there are none, and so neither hits nor misses.
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    // Throttling that drops or postpones requests.
    "request_throttle_wait_count",
    "stale_replies",
    "stale_requests",
    "stale_requests_dropped",
    "throttled_ops",
    // Connections that come before the server is up, or that linger in a handshake.
    "cnxn_closed_without_zk_server_running",
    "tls_handshake_exceeded",
    // An admin server with TLS and without on one port.
    "insecure_admin_count",
    // A server that goes on after an error that it cannot recover from: ours stops.
    "unrecoverable_error_count",
];

/// Gauges: they concern ZooKeeper's other network layer (Netty), and are 0 with its default one as well.
pub(super) const GAUGES: &[&str] =
    &["non_mtls_local_conn_count", "non_mtls_remote_conn_count", "outstanding_tls_handshake"];

/// Summaries that tell their median only.
pub(super) const SUMMARIES: &[&str] = &[
    // An ensemble.
    "commit_commit_proc_req_queued",
    "commit_process_time",
    "election_time",
    "follower_sync_time",
    "inflight_diff_count",
    "inflight_snap_count",
    "leader_unavailable_time",
    "learner_request_processor_queue_size",
    "observer_sync_time",
    "unavailable_time",
    // The commit processor of an ensemble's servers.
    "concurrent_request_processing_in_commit_processor",
    "pending_session_queue_size",
    "read_commit_proc_issued",
    "read_commit_proc_req_queued",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "requests_in_session_queue",
    "session_queues_drained",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "write_batch_time_in_commit_processor",
    "write_commit_proc_issued",
    "write_commit_proc_req_queued",
    // Threads with queues between them, and the time of each: there is one thread, which does not look at the clock between its steps.
    "prep_process_time",
    "prep_processor_queue_size",
    "proposal_process_time",
    "sync_process_time",
    "sync_processor_queue_size",
    // What the throttle of new connections lacks in tokens: it counts whom it refuses instead.
    "connection_token_deficit",
    // Buffers of Netty, and sockets that are closed by a thread of their own.
    "netty_queued_buffer_capacity",
    "socket_closing_time",
];

/// Summaries that tell their percentiles.
pub(super) const DETAILED_SUMMARIES: &[&str] = &[
    // An ensemble.
    "commit_propagation_latency",
    "om_commit_process_time_ms",
    "om_proposal_process_time_ms",
    "proposal_ack_creation_latency",
    "proposal_latency",
    "quorum_ack_latency",
    // The commit processor of an ensemble's servers.
    "local_write_committed_time_ms",
    "read_commitproc_time_ms",
    "read_final_proc_time_ms",
    "server_write_committed_time_ms",
    "write_commitproc_time_ms",
    "write_final_proc_time_ms",
    // Threads with queues between them.
    "close_session_prep_time",
    "prep_processor_queue_time_ms",
    "sync_processor_queue_and_flush_time_ms",
    "sync_processor_queue_time_ms",
    // A cleaner of dead watchers; throttling; pauses of Java's virtual machine.
    "dead_watchers_cleaner_latency",
    "jvm_pause_time_ms",
    "request_throttle_queue_time_ms",
];
