//! A running job goes from one parallelism to another, under leaders that change meanwhile: each number is committed once.

use std::time::Duration;

use super::*;

fn wait_for_parallelism(handle: &JobManagerHandle, parallelism: u32) -> JobView {
    wait_for(&format!("parallelism {parallelism}"), || {
        job(handle).is_some_and(|job| {
            let highest = job.vertices.iter().map(|vertex| vertex.subtasks.len()).max();
            let mut subtasks = job.vertices.iter().flat_map(|vertex| &vertex.subtasks);
            (job.parallelism, highest) == (parallelism, Some(parallelism as usize))
                && subtasks.all(|subtask| matches!(subtask.state, "RUNNING" | "FINISHED"))
        })
    });
    job(handle).unwrap()
}

#[test]
fn a_job_goes_up_and_down_and_waits_for_slots() {
    let cluster = TestCluster::start();
    let manager = cluster.job_manager("jm");
    let handle = manager.handle();
    let _first = cluster.task_manager("a", 2);
    cluster.numbers.allow(ALL / 10);
    wait_for("a leader", || leads(&handle));
    handle.submit(JOB, spec("numbers", 1)).unwrap();
    wait_for_tasks(&handle);
    handle.rescale(JOB, 2).unwrap();
    let two = wait_for_parallelism(&handle, 2);
    assert!(placement(&two).iter().flatten().all(|(attempt, _)| *attempt == 1), "the same job goes on");
    assert!(two.history.last_restored.is_some());

    handle.rescale(JOB, 4).unwrap();
    wait_for_checkpoint(&handle);
    assert_eq!((job(&handle).unwrap().parallelism, job(&handle).unwrap().wanted_parallelism), (2, 4));
    let _second = cluster.task_manager("b", 2);
    wait_for_parallelism(&handle, 4);
    cluster.numbers.allow(ALL / 10);
    handle.rescale(JOB, 1).unwrap();
    wait_for_parallelism(&handle, 1);
    wait_for("free slots", || {
        handle.view().unwrap().task_managers.iter().map(|t| t.free_slots).sum::<usize>() == 3
    });

    let ended = finish(&cluster, &handle);
    assert_eq!((ended.error, ended.parallelism), (None, 1));
    assert!(handle.rescale(JOB, 2).unwrap_err().to_string().contains("has ended"));
}

#[test]
fn whoever_leads_sees_to_what_is_wanted() {
    let cluster = TestCluster::start();
    let mut managers = vec![cluster.job_manager("jm-0"), cluster.job_manager("jm-1")];
    let _workers = [cluster.task_manager("a", 2), cluster.task_manager("b", 2)];
    let leader = |managers: &[JobManager]| {
        let mut found = None;
        wait_for("a leader", || {
            found = managers.iter().position(|manager| leads(&manager.handle()));
            found.is_some()
        });
        found.unwrap()
    };
    let first = managers[leader(&managers)].handle();
    first.submit(JOB, spec("numbers", 2)).unwrap();
    wait_for_tasks(&first);
    for (round, parallelism) in [3, 1, 4, 2, 4, 3, 1, 2].into_iter().enumerate() {
        cluster.numbers.allow(ALL / 40);
        let at = leader(&managers);
        managers[1 - at].handle().rescale(JOB, parallelism).unwrap();
        // Sooner or later, or not at all, while it goes on.
        if round % 4 != 3 {
            std::thread::sleep(Duration::from_millis(round as u64 * 9));
            managers.remove(at).stop();
            managers.push(cluster.job_manager(&format!("jm-{}", round + 2)));
        }
        wait_for_parallelism(&managers[leader(&managers)].handle(), parallelism);
    }
    finish(&cluster, &managers[leader(&managers)].handle());
}
