#!/usr/bin/env python3
"""Puts bugs into the runtime and the typed API, one at a time, and shows that the tests of recovery catch each.

    mutations.py [--only NAME] [--seeds 0..4]

Each mutation is one edit in a copy of the working tree's crates; it is caught when `cargo test --test it recovery` of the crate fails with all
seeds together. Prints which tests caught it. Ends with `N passed, N failed`; a mutation that survives has failed, and so has one
whose text is no longer there.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))

# name, file below crates/, text, text in its place
MUTATIONS = [
    ("event timers are not in the snapshot", "datastream/src/process.rs", "event.write(EVENT_TIMERS, writer)?;", "let _ = &event;"),
    ("processing timers are not in the snapshot", "datastream/src/process.rs", "processing.write(PROCESSING_TIMERS, writer)", "{ let _ = (&processing, writer); Ok(()) }"),
    ("event timers are not restored", "datastream/src/process.rs", "event: Timers::read(EVENT_TIMERS, &context.restored)?,", "event: Timers::default(),"),
] + [
    (f"a {kind} state is not restored", "datastream/src/state/backend.rs", "in restored.keyed(name, &shape)? {", f'in restored.keyed(name, &shape)?.iter().filter(|_| kind != "{kind}") {{')
    for kind in ("value", "list", "map", "reducing", "aggregating")
] + [
    ("a rolling fold has no snapshot", "datastream/src/keyed.rs", "Ok(self.running.as_ref().map(|(backend, _)| backend.snapshot()))", "Ok(None)"),
    ("state is captured when it is written, one record late", "datastream/src/state/table.rs", "let values = self.values.borrow().clone();", "let mut values = self.values.borrow().clone(); values.truncate(values.len().saturating_sub(1));"),
    ("rows of side outputs stay behind", "datastream/src/process.rs", "    fn end_step<N: Push<F::Out>>(&mut self, _: &mut N) -> OperatorResult<()> {\n        self.runtime.sides.flush();\n        Ok(())\n    }\n\n    fn snapshot", "    fn snapshot"),
    ("the barrier overtakes rows of side outputs", "dataflow/src/output.rs", "        self.drain_sides()?;\n        self.edges.0.iter_mut().try_for_each(|edge| edge.broadcast(control))?;", "        self.edges.0.iter_mut().try_for_each(|edge| edge.broadcast(control))?;"),
    ("the barrier overtakes rows that wait to be coalesced", "dataflow/src/exchange.rs", "@broadcast", ""),
    ("channels are not aligned", "dataflow/src/gate.rs", "            if channel.aligned {\n                continue;\n            }\n", ""),
    ("output is committed before the pointer is written", "dataflow/src/sink.rs", "        if !committables.is_empty() {\n", "        if let Some(committer) = self.sink.committer() { committer.commit(&committables)?; }\n        if !committables.is_empty() {\n"),
    ("output is not in the checkpoint", "dataflow/src/sink.rs", "        if !committables.is_empty() {\n", "        if false {\n"),
    ("what an aborted checkpoint held is forgotten", "dataflow/src/sink.rs", "        if !committables.is_empty() {\n", "        self.pending.clear();\n        if !committables.is_empty() {\n"),
    ("a restart commits nothing", "dataflow/src/job/master/deploy.rs", "committer.recover(&self.config.lineage, &items(uid, COMMITTABLES.0)).map_err(fail)?;", "committer.recover(&self.config.lineage, &[]).map_err(fail)?; let _ = (uid, COMMITTABLES);"),
    ("positions of splits are not restored", "dataflow/src/job/master/deploy.rs", "enumerator.add_splits_back(splits.map_err(fail)?);", "let splits: Vec<crate::source::Split> = splits.map_err(fail)?; let reset = |s: crate::source::Split| crate::source::Split { payload: vec![0; s.payload.len()], ..s }; enumerator.add_splits_back(splits.into_iter().map(reset).collect());"),
    ("splits that readers had are lost", "dataflow/src/job/master/deploy.rs", "enumerator.add_splits_back(splits.map_err(fail)?);", "let _: Vec<crate::source::Split> = splits.map_err(fail)?;"),
    ("a restart goes on from the checkpoint before the latest", "dataflow/src/job/master/checkpoints.rs", "self.latest = Some(Latest::Stored(checkpoint));", "self.latest = retained.iter().rev().nth(1).or(retained.last()).map(|c| Latest::Stored(*c));"),
    ("a source passes the barrier on before its position is taken", "dataflow/src/task/source.rs", "@late-position", ""),
]
