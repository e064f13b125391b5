//! `GET /metrics`: the metrics of the REST API in Prometheus' text format 0.0.4, under the names that Flink's reporter gives them.
//!
//! As there, every metric is a gauge, its name is `flink_<scope>_<name>`, the scope's variables are labels, and whatever is neither a
//! letter, a digit, `:` nor `_` becomes `_`, in names and in labels; metrics that are no numbers are left out. What does not fit into
//! [`MAX_BYTES`] is counted instead: subtasks go last, so that they are the first to be missing.
//!
//! Invariant: only the leader speaks of jobs and TaskManagers, so that sums over all JobManagers count nothing twice.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::body::Body;
use serde_json::{Value, json};
use streamkeeper_zookeeper::{State, Status};

use super::api::{Api, Call, Reply, RestError};
use super::metrics::{self, Metrics};
use crate::jobmanager::view::{ClusterView, ProcessStatus};

/// Where they are.
pub(super) const PATH: &str = "/metrics";

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All samples take no more, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// `GET /metrics`.
pub(super) fn metrics(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let view = api.handle.view()?;
    let host = api.options.configuration.get("jobmanager.rpc.address").map_or("localhost", String::as_str);
    let mut page = Page::new(MAX_BYTES);
    page.job_manager(&view, host, &api.process(), api.handle.cluster().zookeeper().status());
    Ok(Reply::Text(CONTENT_TYPE, Body::from(page.text())))
}

/// Samples by metric: the format wants all of a metric together.
struct Page {
    families: BTreeMap<String, Family>,
    left: usize,
    left_out: u64,
}

struct Family {
    help: String,
    samples: String,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn new(max_bytes: usize) -> Self {
        Self { families: BTreeMap::new(), left: max_bytes, left_out: 0 }
    }

    fn job_manager(&mut self, view: &ClusterView, host: &str, process: &ProcessStatus, zookeeper: Status) {
        let host = ("host", host);
        self.add("jobmanager", &[host], metrics::process(process));
        self.own(&[
            ("jobmanager_leads", u64::from(view.is_leader)),
            ("zookeeper_connected", u64::from(zookeeper.state == State::Connected)),
            ("zookeeper_connections", zookeeper.connections),
            ("zookeeper_sessions", zookeeper.generation),
        ]);
        if !view.is_leader {
            return;
        }
        self.add("jobmanager", &[host], metrics::cluster(view));
        let live = || view.jobs.iter().filter(|job| !job.state.is_terminal());
        for job in live() {
            let labels = [("job_id", job.id.as_str()), host, ("job_name", job.name.as_str())];
            self.add("jobmanager_job", &labels, metrics::job(job));
        }
        let mut hosts = BTreeMap::new();
        for worker in &view.task_managers {
            let host = worker.exchange_address.rsplit_once(':').map_or("", |(host, _)| host);
            hosts.insert(worker.id.as_str(), host);
            let labels = [("host", host), ("tm_id", worker.id.as_str())];
            self.add("taskmanager", &labels, metrics::process(&worker.process));
        }
        for job in live() {
            for vertex in &job.vertices {
                for (index, subtask) in vertex.subtasks.iter().enumerate() {
                    let (index, attempt) = (index.to_string(), subtask.attempt.to_string());
                    let labels = [
                        ("job_id", job.id.as_str()),
                        ("task_id", vertex.shape.id.as_str()),
                        ("host", hosts.get(subtask.worker.as_str()).copied().unwrap_or("")),
                        ("tm_id", subtask.worker.as_str()),
                        ("task_name", vertex.shape.name.as_str()),
                        ("task_attempt_num", attempt.as_str()),
                        ("job_name", job.name.as_str()),
                        ("subtask_index", index.as_str()),
                    ];
                    self.add("taskmanager_job_task", &labels, metrics::of_task(subtask));
                }
            }
        }
    }

    fn add(&mut self, scope: &str, labels: Labels<'_>, metrics: Metrics) {
        for (name, value) in metrics {
            let family = format!("flink_{scope}_{}", filtered(&name));
            self.sample(family, || format!("{name} (scope: {scope})"), labels, &value);
        }
    }

    /// What Flink has no name for.
    fn own(&mut self, metrics: &[(&str, u64)]) {
        for (name, value) in metrics {
            self.sample(format!("streamkeeper_{name}"), || (*name).to_owned(), &[], &json!(value));
        }
    }

    fn sample(&mut self, family: String, help: impl FnOnce() -> String, labels: Labels<'_>, value: &Value) {
        let Some(value) = value.as_f64() else { return };
        let labels: Vec<String> =
            labels.iter().map(|(label, of)| format!("{label}=\"{}\"", filtered(of))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let sample = format!("{family}{labels} {value:?}\n");
        if sample.len() > self.left {
            // Later ones must not slip in where this one found no room: they would show a part of a subtask.
            self.left = 0;
            self.left_out += 1;
            return;
        }
        self.left -= sample.len();
        let new = || Family { help: help(), samples: String::new() };
        self.families.entry(family).or_insert_with(new).samples.push_str(&sample);
    }

    fn text(mut self) -> String {
        self.left = usize::MAX;
        let left_out = self.left_out;
        self.own(&[("metrics_left_out", left_out)]);
        let mut text = String::new();
        for (name, Family { help, samples }) in &self.families {
            // Writing to a string does not fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{samples}");
        }
        text
    }
}

/// A name or a label's value as Flink's reporter writes it by default.
fn filtered(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == ':' || c == '_' { c } else { '_' };
    text.chars().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use streamkeeper_coordination::jobs::{Job, JobState};

    use super::*;
    use crate::jobmanager::view::{
        JobView, SubtaskView, TaskManagerView, VertexShape, VertexView, of_documents,
    };

    const ZOOKEEPER: Status =
        Status { state: State::Connected, generation: 2, connections: 5, session_id: 1 };

    fn subtask(records: i64) -> SubtaskView {
        SubtaskView {
            state: "RUNNING",
            since: Vec::new(),
            attempt: 3,
            worker: "tm-1".into(),
            metrics: vec![("numRecordsIn", records)],
            rates: vec![("busyTimeMsPerSecond", 12.5)],
        }
    }

    fn view(is_leader: bool) -> ClusterView {
        let shape = VertexShape {
            id: "ab".repeat(16),
            slot_sharing_group: String::new(),
            name: "Source: a -> b".into(),
            parallelism: 2,
            is_source: true,
            is_sink: false,
            operators: Vec::new(),
            inputs: Vec::new(),
        };
        let job = JobView {
            name: "it's \"mine\"".into(),
            state: JobState::Running,
            restarts: 4,
            vertices: vec![VertexView { shape: Arc::new(shape), subtasks: vec![subtask(7), subtask(9)] }],
            ..of_documents(&"12".repeat(16), &Job::default())
        };
        let ended = JobView { state: JobState::Failed, id: "ended".into(), ..job.clone() };
        let worker = TaskManagerView {
            id: "tm-1".into(),
            exchange_address: "box:99".into(),
            slots: 4,
            free_slots: 2,
            started_ms: 0,
            connected: true,
            last_heartbeat_ms: 0,
            process: ProcessStatus::default(),
        };
        ClusterView { leader: None, is_leader, task_managers: vec![worker], jobs: vec![job, ended] }
    }

    fn page(view: &ClusterView, max_bytes: usize) -> String {
        let mut page = Page::new(max_bytes);
        page.job_manager(view, "here", &ProcessStatus::default(), ZOOKEEPER);
        page.text()
    }

    #[test]
    fn names_labels_and_values_are_those_of_flinks_reporter() {
        let text = page(&view(true), MAX_BYTES);
        let job = "12".repeat(16);
        let task = "ab".repeat(16);
        let of_task = |name: &str, index: usize, value: &str| {
            format!(
                "flink_taskmanager_job_task_{name}{{job_id=\"{job}\",task_id=\"{task}\",host=\"box\",tm_id=\"tm_1\",\
                 task_name=\"Source:_a____b\",task_attempt_num=\"3\",job_name=\"it_s__mine_\",\
                 subtask_index=\"{index}\"}} {value}"
            )
        };
        for expected in [
            "flink_jobmanager_numRegisteredTaskManagers{host=\"here\"} 1.0".to_owned(),
            "flink_jobmanager_taskSlotsTotal{host=\"here\"} 4.0".to_owned(),
            "flink_jobmanager_taskSlotsAvailable{host=\"here\"} 2.0".to_owned(),
            "flink_jobmanager_numRunningJobs{host=\"here\"} 1.0".to_owned(),
            "flink_jobmanager_Status_JVM_Threads_Count{host=\"here\"} 0.0".to_owned(),
            format!(
                "flink_jobmanager_job_numRestarts{{job_id=\"{job}\",host=\"here\",job_name=\"it_s__mine_\"}} 4.0"
            ),
            of_task("numRecordsIn", 0, "7.0"),
            of_task("numRecordsIn", 1, "9.0"),
            of_task("busyTimeMsPerSecond", 1, "12.5"),
            "# HELP flink_taskmanager_job_task_numRecordsIn numRecordsIn (scope: taskmanager_job_task)"
                .to_owned(),
            "# TYPE flink_taskmanager_job_task_numRecordsIn gauge".to_owned(),
            "streamkeeper_zookeeper_connections 5.0".to_owned(),
            "streamkeeper_metrics_left_out 0.0".to_owned(),
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
        }
        assert!(!text.contains("ExternalPath") && !text.contains("ended"), "{text}");
    }

    #[test]
    fn every_family_is_in_one_piece() {
        let text = page(&view(true), MAX_BYTES);
        let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let count = families.len();
        families.dedup();
        assert_eq!(families.len(), count);
        let mut current = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(name) => current = name.trim_end_matches(" gauge"),
                None if line.starts_with('#') => {}
                None => assert_eq!(line.split(['{', ' ']).next(), Some(current)),
            }
        }
    }

    #[test]
    fn a_standby_speaks_of_itself_only() {
        let text = page(&view(false), MAX_BYTES);
        assert!(text.contains("streamkeeper_jobmanager_leads 0.0\n"), "{text}");
        assert!(text.contains("flink_jobmanager_Status_JVM_CPU_Load{"), "{text}");
        assert!(!text.contains("numRunningJobs") && !text.contains("job_id"), "{text}");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_subtasks_go_first() {
        let all = page(&view(true), MAX_BYTES);
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        let bytes: usize = all.lines().filter(|line| !line.starts_with('#')).map(|line| line.len() + 1).sum();
        let less = page(&view(true), bytes - 300);
        assert!(less.len() < all.len());
        let counted = less.lines().find_map(|line| line.strip_prefix("streamkeeper_metrics_left_out "));
        let counted: f64 = counted.unwrap().parse().unwrap();
        assert_eq!(samples(&less) + counted as usize, samples(&all));
        assert!(less.contains("flink_jobmanager_job_uptime{") && !less.contains("subtask_index=\"1\"} 12.5"));
    }
}
