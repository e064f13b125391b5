//! `streamkeeper model` beside a server, and `streamkeeper completion`.

use serde_json::Value;

use crate::standalone::Standalone;

#[test]
fn a_model_is_printed_and_a_server_measured_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = Standalone::start(directory.path());
    for model in ["zab", "election", "znode"] {
        let output = cluster.command(&["model", model, "--zookeeper", &cluster.zookeeper, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sheet: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(sheet["model"], model);
        assert!(!sheet["measured"]["lines"].as_array().expect("lines").is_empty(), "{sheet}");
    }
    let root = cluster.command(&["zk", "-server", &cluster.zookeeper, "ls", "/"]);
    assert!(!String::from_utf8_lossy(&root.stdout).contains("probe"), "all is removed again");

    let one = cluster.command(&["model", "zab", "--servers", "1"]);
    assert!(String::from_utf8_lossy(&one.stdout).contains("T = 2n/(n-1)*R: undefined"));
    let nowhere = cluster.command(&["model", "zab", "--zookeeper", "localhost:1"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(!nowhere.stdout.is_empty(), "the model needs no server");
    for wrong in [&["--servers", "0"][..], &["--servers", "256"], &["--rtt", "1,2,3"], &["--fsync", "inf"]] {
        assert_eq!(cluster.command(&[&["model", "zab"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn shells_get_scripts_that_know_the_commands() {
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef streamkeeper"), ("fish", "complete -c streamkeeper")]
    {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_streamkeeper"))
            .args(["completion", shell])
            .output()
            .expect("the binary starts");
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && script.contains(mark) && script.contains("savepoint"), "{shell}");
    }
}
