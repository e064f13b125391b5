//! Our answers have the shape of Flink's: names of fields and JSON types, all the way down.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use streamkeeper_cluster::RestOptions;

use super::client::json as get_json;
use super::leader::{Served, submit, wait_for_tasks};
use crate::jobs::numbers::ALL;
use crate::jobs::{TestCluster, wait_for};

/// Objects whose fields are names that nobody knows beforehand: their values have one shape.
const MAPS: [&str; 4] = ["user-config", "failureLabels", "checkpoint tasks", "jobs"];

fn replies() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flink-rest"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(replies().join(file)).unwrap()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_map(place: &str, value: &Value) -> bool {
    let name = place.rsplit('.').next().unwrap_or_default();
    let ids = value.as_object().is_some_and(|fields| fields.keys().any(|key| key.len() == 32));
    MAPS.contains(&name) || (name == "tasks" && ids)
}

/// Places where `ours` is not as `flink`, and what is there.
fn compare(place: &str, flink: &Value, ours: &Value, differences: &mut Vec<(String, String)>) {
    let mut differ = |place: &str, what: String| differences.push((place.to_owned(), what));
    match (flink, ours) {
        // Nothing was there to be seen.
        (Value::Null, _) => {}
        (Value::Object(flink), Value::Object(ours)) if is_map(place, &json!(flink)) => {
            match (flink.values().next(), ours.values().next()) {
                (Some(flink), Some(ours)) => compare(&format!("{place}.*"), flink, ours, differences),
                (Some(_), None) => differ(&format!("{place}.*"), "nothing".into()),
                (None, _) => {}
            }
        }
        (Value::Object(flink), Value::Object(ours)) => {
            let at = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
            for name in ours.keys().filter(|name| !flink.contains_key(*name)) {
                differ(&at(name), "only ours".into());
            }
            for (name, flink) in flink {
                match ours.get(name) {
                    Some(ours) => compare(&at(name), flink, ours, differences),
                    None => differences.push((at(name), "missing".into())),
                }
            }
        }
        (Value::Array(flink), Value::Array(ours)) => {
            let place = format!("{place}[]");
            let same = |flink: &&Value| ours.iter().find(|ours| ours["className"] == flink["className"]);
            match (flink.first(), ours.first()) {
                (Some(first), Some(_)) if first.get("className").is_some() => {
                    for (flink, ours) in flink.iter().filter_map(|flink| Some((flink, same(&flink)?))) {
                        compare(&place, flink, ours, differences);
                    }
                }
                (Some(flink), Some(ours)) => compare(&place, flink, ours, differences),
                (Some(_), None) => differ(&place, "empty".into()),
                (None, _) => {}
            }
        }
        _ if kind(flink) == kind(ours) => {}
        _ => differ(place, format!("{} instead of {}", kind(ours), kind(flink))),
    }
}

/// Whether a place is meant by a pattern, in which `*` stands for anything.
fn meant(pattern: &str, place: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = place.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[test]
fn answers_have_the_shape_of_flinks() {
    let cluster = TestCluster::start();
    let logs = cluster.directory.path().join("log");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("jobmanager.log"), "a line\n").unwrap();
    let options = RestOptions {
        configuration: [("parallelism.default".to_owned(), "1".to_owned())].into(),
        log_directory: Some(logs),
        ..RestOptions::default()
    };
    let served = Served::with(&cluster, "jm", options);
    let at = served.address();
    served.wait_to_lead();
    let worker = cluster.task_manager("a", 2);
    cluster.numbers.allow(ALL / 3);
    let job = submit(at, None, "numbers", 2).json()["jobid"].as_str().unwrap().to_owned();
    let details = wait_for_tasks(at, &job);
    let checkpoint =
        || get_json(at, &format!("/jobs/{job}/checkpoints"))["latest"]["completed"]["id"].as_u64();
    wait_for("checkpoints", || checkpoint().is_some_and(|id| id > 1));
    // Not the source: it has no input.
    let vertex = details["vertices"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    wait_for("metrics", || {
        let process = &get_json(at, &format!("/taskmanagers/{}", worker.id()))["hardware"]["cpuCores"];
        let records = get_json(at, &format!("/jobs/{job}/vertices/{vertex}/metrics?get=0.numRecordsIn"));
        *process != json!(0) && records[0]["value"].is_string()
    });

    let path = |path: &str| {
        let path = path.replace("{JOBID}", &job).replace("{VERTEX1}", &vertex).replace("{TMID}", worker.id());
        path.replace("{CKPTID}", &checkpoint().unwrap().to_string())
    };
    let mut differences: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut look = |file: &str, ours: &Value| {
        let flink: Value = serde_json::from_str(&text(file)).unwrap();
        let mut found = Vec::new();
        compare("", &flink, ours, &mut found);
        differences.extend(found.into_iter().map(|(place, what)| (file.to_owned(), place, what)));
    };
    for line in text("requests.txt").lines() {
        let (file, request) = line.split_once(' ').unwrap();
        if !file.contains("__finished") {
            look(file, &get_json(at, &path(request)));
        }
    }
    cluster.numbers.allow(100 * ALL);
    wait_for("the end", || get_json(at, &format!("/jobs/{job}/status"))["status"] == "FINISHED");
    look("get_jobs_JOBID__finished.json", &get_json(at, &format!("/jobs/{job}")));

    let listed = text("differences.txt");
    let listed: Vec<(&str, &str)> = listed
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(file, rest)| (file, rest.split(' ').next().unwrap()))
        .collect();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    differences.retain(|(of, place, _)| {
        let known = listed.iter().find(|(file, pattern)| file == of && meant(pattern, place));
        used.extend(known);
        known.is_none()
    });
    assert!(differences.is_empty(), "not listed: {differences:#?}");
    let gone: Vec<_> = listed.iter().filter(|line| !used.contains(*line)).collect();
    assert!(gone.is_empty(), "listed, but not there: {gone:?}");
}

#[test]
fn shapes_are_compared_all_the_way_down() {
    let flink = json!({ "a": [{ "b": 1, "c": "x" }], "d": null, "user-config": { "k": "v" }, "e": {} });
    let mut found = Vec::new();
    compare(
        "",
        &flink,
        &json!({ "a": [{ "b": "1", "f": 2 }], "d": 3, "user-config": {}, "e": [] }),
        &mut found,
    );
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["a[].f", "a[].b", "a[].c", "user-config.*", "e"]);
    assert!(
        meant("s.*.p*", "s.a.b.p99")
            && !meant("s.*.p*", "s.a.min")
            && meant("a.b", "a.b")
            && !meant("a", "a.b")
    );
}
