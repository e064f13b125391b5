//! The OpenAPI document is true: what is answered is as it says.

use serde_json::{Value, json};

use super::client::{get, json as get_json, send};
use super::leader::{Served, submit, wait_for_tasks};
use crate::jobs::TestCluster;
use crate::jobs::numbers::ALL;

/// What is wrong with a value, by the part of JSON Schema that the document uses.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let refuse = |what: &str| Err(format!("{place}: {what}: {value}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return check(document, target.unwrap_or_else(|| panic!("no {reference}")), value, place);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any.iter().any(|schema| check(document, schema, value, place).is_ok());
        return if fits { Ok(()) } else { refuse("none of anyOf") };
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return refuse("not in enum");
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        return refuse(&format!("no {types:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return refuse(&format!("{name} is missing"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => check(document, schema, field, &place)?,
            (None, Value::Object(schema)) => check(document, &json!(schema), field, &place)?,
            (None, _) if schema["properties"].is_object() => return Err(format!("{place} is not described")),
            (None, _) => {}
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{place}[{index}]"))?;
    }
    Ok(())
}

/// Asserts that an answer is among the described ones, and as described.
fn assert_described(document: &Value, path: &str, method: &str, status: u16, body: &Value) {
    let operation = &document["paths"][path][method];
    let mut response = &operation["responses"][status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path}: {status} is not described");
    check(document, schema, body, path).unwrap();
}

#[test]
fn what_is_answered_is_described() {
    let cluster = TestCluster::start();
    let served = Served::start(&cluster, "jm");
    let at = served.address();
    let leader = "/v1/streamkeeper/leader";
    let known = || get(at, leader);
    let document = {
        served.wait_to_lead();
        get_json(at, "/v1/streamkeeper/openapi.json")
    };
    assert_described(&document, leader, "get", 200, &known().json());
    for path in ["/healthz", "/readyz"] {
        assert_described(&document, path, "get", 200, &get_json(at, path));
        assert_described(&document, path, "get", 405, &send(at, "POST", path, b"").json());
    }
    let jobs = "/v1/streamkeeper/jobs";
    let one = "/v1/streamkeeper/jobs/{jobid}";
    let _worker = cluster.task_manager("a", 2);
    cluster.numbers.allow(ALL / 3);
    let submitted = submit(at, None, "numbers", 2);
    assert_described(&document, jobs, "post", submitted.status, &submitted.json());
    let id = submitted.json()["jobid"].as_str().unwrap().to_owned();
    let look = |id: &str| {
        let answer = get(at, &one.replace("{jobid}", id));
        assert_described(&document, one, "get", answer.status, &answer.json());
        answer.status
    };
    look(&id);
    wait_for_tasks(at, &id);
    assert_eq!((look(&id), look("xyz"), look(&"0".repeat(32))), (200, 400, 404));
    for (status, answer) in [
        (409, submit(at, Some(&id), "numbers", 1)),
        (400, submit(at, None, "wrong", 1)),
        (413, send(at, "POST", jobs, &vec![b' '; 5 << 20])),
        (405, send(at, "PUT", jobs, b"")),
    ] {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_described(&document, jobs, "post", status, &answer.json());
    }
    // Nothing else is there below these paths.
    let described = document["paths"].as_object().unwrap();
    assert_eq!(described.len(), 7);
    for path in described.keys() {
        assert_ne!(get(at, &path.replace("{jobid}", &id)).status, 404, "{path}");
    }
    let wrong = json!({ "jobid": id, "already": "no" });
    let schema = json!({ "$ref": "#/components/schemas/Submitted" });
    assert!(check(&document, &schema, &wrong, "").is_err(), "the check would pass anything");
}
