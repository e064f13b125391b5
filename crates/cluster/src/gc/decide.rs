//! Which checkpoints are orphans.
//!
//! Invariant: what a pointer names, or reaches, or may still come to name, is no orphan; neither is what is of no job of the cluster,
//! unless it is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::claims::{Claim, Place};
use super::files::Found;

/// What a running job has above its latest checkpoint is in flight, unless it is older than this, milliseconds.
pub(super) const IN_FLIGHT_MS: i64 = 60 * 60 * 1000;

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No job needs it: it can go.
    Orphan,
    /// It is of no job of the cluster, as far as is known: it stays.
    Unknown,
    /// It cannot be told whether it is needed: it stays.
    Unclear,
}

/// Files of a checkpoint that no job needs, or of an unknown run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The run that it is of.
    pub lineage: String,
    /// Its number.
    pub checkpoint: u64,
    /// A job that the run is of; empty: none that is known.
    pub job: String,
    /// Its directory.
    pub path: PathBuf,
    /// What of it is not needed.
    pub files: Vec<PathBuf>,
    /// Their size.
    pub bytes: u64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// What is to be said of what was found.
pub(super) fn decide(
    found: &[Found],
    claims: &BTreeMap<Place, Claim>,
    named: &BTreeSet<String>,
    now_ms: i64,
) -> Vec<Finding> {
    found.iter().filter_map(|found| decide_one(found, claims, named, now_ms)).collect()
}

fn decide_one(
    found: &Found,
    claims: &BTreeMap<Place, Claim>,
    named: &BTreeSet<String>,
    now_ms: i64,
) -> Option<Finding> {
    let anywhere = Place { directory: PathBuf::new(), lineage: found.place.lineage.clone() };
    let untouchable = claims.get(&anywhere);
    let claim = claims.get(&found.place).or(untouchable);
    let (verdict, reason) = match claim {
        None if named.contains(&found.place.lineage) => (Verdict::Orphan, "named by --lineage".to_owned()),
        None => (Verdict::Unknown, "of no job of this cluster".to_owned()),
        Some(claim) => judge(found, claim, untouchable, now_ms)?,
    };
    let below = |name: &str| format!("chk-{}/{name}", found.checkpoint);
    let free = found
        .files
        .iter()
        .filter(|file| !claim.is_some_and(|claim| claim.files.contains(&below(&file.name))));
    let free: Vec<_> = free.collect();
    if free.is_empty() && !found.files.is_empty() {
        return None;
    }
    Some(Finding {
        lineage: found.place.lineage.clone(),
        checkpoint: found.checkpoint,
        job: claim.map(|claim| claim.job.clone()).unwrap_or_default(),
        path: found.path.clone(),
        files: free.iter().map(|file| found.path.join(&file.name)).collect(),
        bytes: free.iter().map(|file| file.bytes).sum(),
        verdict,
        reason,
    })
}

/// Of a run that is known; `None`: it is needed.
fn judge(
    found: &Found,
    claim: &Claim,
    untouchable: Option<&Claim>,
    now_ms: i64,
) -> Option<(Verdict, String)> {
    if claim.kept.contains(&found.checkpoint) {
        return None;
    }
    let reason = claim.untouchable.as_ref().or(untouchable.and_then(|claim| claim.untouchable.as_ref()));
    if let Some(reason) = reason {
        return Some((Verdict::Unclear, reason.clone()));
    }
    let complete = found.files.iter().any(|file| file.name == "_metadata");
    let what = if complete { "complete, but of no pointer" } else { "half written" };
    match claim.live_from {
        Some(latest) if found.checkpoint > latest => {
            let newest = found.files.iter().map(|file| file.modified_ms).chain([found.modified_ms]).max();
            let age = now_ms.saturating_sub(newest.unwrap_or(i64::MAX));
            (age > IN_FLIGHT_MS).then(|| (Verdict::Orphan, format!("{what}, and older than an hour")))
        }
        Some(_) => Some((Verdict::Orphan, format!("{what}, below the latest"))),
        None => Some((Verdict::Orphan, format!("{what}; its job has ended"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::File;
    use super::*;

    const NOW: i64 = 10 * IN_FLIGHT_MS;

    fn place(lineage: &str) -> Place {
        Place { directory: "/c".into(), lineage: lineage.into() }
    }

    fn found(lineage: &str, checkpoint: u64, files: &[&str], age_ms: i64) -> Found {
        let modified_ms = NOW - age_ms;
        let file = |name: &&str| File { name: (*name).to_owned(), bytes: 10, modified_ms };
        Found {
            place: place(lineage),
            checkpoint,
            path: format!("/c/{lineage}/chk-{checkpoint}").into(),
            files: files.iter().map(file).collect(),
            modified_ms,
        }
    }

    fn claim(kept: &[u64], files: &[&str], live_from: Option<u64>) -> Claim {
        Claim {
            job: "j".into(),
            kept: kept.iter().copied().collect(),
            files: files.iter().map(|&file| file.to_owned()).collect(),
            live_from,
            untouchable: None,
        }
    }

    /// Numbers and verdicts.
    fn verdicts(found: &[Found], claim: Claim, named: &[&str]) -> Vec<(u64, Verdict)> {
        let claims = BTreeMap::from([(place("a"), claim)]);
        let named = named.iter().map(|&name| name.to_owned()).collect();
        decide(found, &claims, &named, NOW).iter().map(|f| (f.checkpoint, f.verdict)).collect()
    }

    const WHOLE: &[&str] = &["_metadata", "state-t"];

    #[test]
    fn below_the_latest_what_no_pointer_names_goes_and_above_it_what_is_old() {
        let all = [
            found("a", 3, WHOLE, 0),
            found("a", 4, &["state-t"], 0),
            found("a", 5, WHOLE, 0),
            found("a", 6, &["state-t"], IN_FLIGHT_MS),
            found("a", 7, &["state-t"], IN_FLIGHT_MS + 1),
            found("a", 8, &[], IN_FLIGHT_MS + 1),
        ];
        let orphan = |checkpoint| (checkpoint, Verdict::Orphan);
        assert_eq!(verdicts(&all, claim(&[5], &[], Some(5)), &[]), [3, 4, 7, 8].map(orphan));
        assert_eq!(verdicts(&all, claim(&[5], &[], None), &[]), [3, 4, 6, 7, 8].map(orphan), "ended");
    }

    #[test]
    fn what_a_needed_checkpoint_names_of_another_stays() {
        let all = [found("a", 3, &["_metadata", "state-t", "state-u"], 0), found("a", 4, &["state-t"], 0)];
        let claims =
            BTreeMap::from([(place("a"), claim(&[5], &["chk-3/state-t", "chk-4/state-t"], Some(5)))]);
        let findings = decide(&all, &claims, &BTreeSet::new(), NOW);
        assert_eq!(findings.len(), 1);
        let kept = ["/c/a/chk-3/_metadata", "/c/a/chk-3/state-u"].map(PathBuf::from);
        assert_eq!((findings[0].files.as_slice(), findings[0].bytes), (kept.as_slice(), 20));
    }

    #[test]
    fn what_is_unknown_stays_unless_it_is_named() {
        let all = [found("b", 1, WHOLE, 0)];
        let none = claim(&[], &[], None);
        assert_eq!(verdicts(&all, none.clone(), &[]), [(1, Verdict::Unknown)]);
        assert_eq!(verdicts(&all, none.clone(), &["c"]), [(1, Verdict::Unknown)]);
        assert_eq!(verdicts(&all, none, &["b"]), [(1, Verdict::Orphan)]);
        assert_eq!(
            verdicts(&[found("a", 1, WHOLE, 0)], claim(&[1], &[], None), &["a"]),
            [],
            "named, but needed"
        );
    }

    #[test]
    fn what_is_unclear_stays_even_if_it_is_named() {
        let unclear = Claim { untouchable: Some("damaged".into()), ..claim(&[5], &[], Some(5)) };
        assert_eq!(verdicts(&[found("a", 1, WHOLE, 0)], unclear.clone(), &["a"]), [(1, Verdict::Unclear)]);
        let anywhere = Place { directory: PathBuf::new(), lineage: "a".into() };
        let claims = BTreeMap::from([(anywhere, unclear), (place("a"), claim(&[5], &[], None))]);
        let verdict = decide(&[found("a", 1, WHOLE, 0)], &claims, &BTreeSet::new(), NOW)[0].verdict;
        assert_eq!(verdict, Verdict::Unclear);
    }
}
